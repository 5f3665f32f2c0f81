"""Whether the first camera's image is fused with the thermal one just now, and why not."""

from __future__ import annotations

from collections.abc import Callable

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.manifest import Manifest
from derain_ros.runtime.input.encoding import from_network
from derain_ros.runtime.input.thermal import Thermal
from derain_ros.runtime.loading.loader import Loader
from derain_ros.runtime.loading.models import find_fuser
from derain_ros.runtime.run import Run
from derain_ros.runtime.stages import Images
from derain_ros.runtime.stages.fuse import Fuse

FUSED = "fused"


class Fusion:
    """The thermal camera of a pipeline and the stage that fuses; `wanted` says whether anybody takes fused images.

    `nearest` gives the thermal frame nearest to one of the first camera; without it that of the frame set is taken.
    Beside a stream it is asked for late: a thermal frame of the same instant often comes when its pair is whole.
    """

    def __init__(self, config: Config) -> None:
        self.thermal = Thermal(config)
        self.stage: Fuse | None = None
        self.wanted = config.thermal
        self.nearest: Callable[[Frame], Frame | None] | None = None
        self._lacks = "the fuser is not loaded"

    def load(self, manifest: Manifest, loader: Loader) -> None:
        """Find the fuser; without one the rest goes on."""
        fuser = find_fuser(manifest)
        self.stage = None if fuser is None else Fuse(fuser, loader)
        self._lacks = f"there is no fuser among the models of {manifest.directory}"

    def stage_for(self, run: Run, thermal: Frame | None, images: Images) -> Fuse | None:
        """The stage, where these images are to be fused; `run.fusion` says why not, or for now that time is short."""
        if not self.wanted:
            return None
        if self.stage is None or not self.stage.can(images.batches):
            run.fusion = self._lacks if self.stage is None else "the fuser fails"
            return None
        try:
            thermal = thermal if self.nearest is None else self.nearest(images.frames[0])
            run.fusion = self.thermal.look(thermal, images.frames[0], images.seen[0], images.now_ns)
            if run.fusion:
                return None
        except Exception as error:
            # Whatever a thermal frame is like, the cameras' images go on as they would without it.
            run.fusion = f"thermal: {error!r}"
            return None
        run.fusion = "no time" if self.stage.ready(images.batches) else "the fuser is being loaded"
        images.hidden = run.hidden(images.cameras[0])
        return self.stage

    def show(self, images: Images) -> None:
        """Put what the thermal camera shows of the first camera's view beside that."""
        images.infrared = self.thermal.shown, self.thermal.inside

    @staticmethod
    def take(run: Run, images: Images) -> None:
        """Take over what was fused."""
        if images.fused is not None:
            run.fused, run.fusion = from_network(images.fused, images.frames[0]), FUSED
