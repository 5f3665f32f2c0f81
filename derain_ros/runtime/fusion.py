"""Decides whether the first camera's image is fused with the thermal one now, and says why not."""

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

    `nearest` gives the thermal frame nearest to a frame of the first camera; without it the one of the frame set is
    used. Beside a stream it is called late: a thermal frame of the same instant often comes when its pair is complete.
    """

    def __init__(self, config: Config) -> None:
        self.thermal = Thermal(config)
        self.stage: Fuse | None = None
        self.wanted = config.thermal
        self.nearest: Callable[[Frame], Frame | None] | None = None
        self._lacks = "the fuser is not loaded"

    def load(self, manifest: Manifest, loader: Loader) -> None:
        """Find the fuser; without one, nothing is fused."""
        fuser = find_fuser(manifest)
        self.stage = None if fuser is None else Fuse(fuser, loader)
        self._lacks = f"there is no fuser among the models of {manifest.directory}"

    def stage_for(self, run: Run, thermal: Frame | None, images: Images) -> Fuse | None:
        """The stage, where these images can be fused; else None, and `run.fusion` says why. Where they can,
        `run.fusion` says that time is short or the fuser is being loaded, until `take` finds a fused image."""
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
            # Whatever a thermal frame is like, the cameras' images are processed as they would be without it.
            run.fusion = f"thermal: {error!r}"
            return None
        run.fusion = "no time" if self.stage.ready(images.batches) else "the fuser is being loaded"
        images.hidden = run.hidden(images.cameras[0])
        return self.stage

    def show(self, images: Images) -> None:
        """Give the fuser what the thermal camera shows of the first camera's view."""
        images.infrared = self.thermal.shown, self.thermal.inside

    @staticmethod
    def take(run: Run, images: Images) -> None:
        """Put the fused image, if there is one, into the run."""
        if images.fused is not None:
            run.fused, run.fusion = from_network(images.fused, images.frames[0]), FUSED
