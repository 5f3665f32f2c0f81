"""Follows the thermal camera: whether its frames can be fused, and what they show in the left camera's view."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from derain_ros.config import Config
from derain_ros.frame import Frame
from derain_ros.runtime.input.alignment import likeness, peak, structure
from derain_ros.runtime.input.encoding import LAYOUTS, FrameError, leveled, size_of, to_grey
from derain_ros.runtime.input.geometry import Geometry
from derain_ros.runtime.input.levels import LevelsOfCamera
from derain_ros.runtime.input.registration import Homography, Registration, RegistrationError, Size, Warp
from derain_ros.runtime.input.tone import ToneOfCamera

FROZEN_NS = 300_000_000
"""How long the same image may repeat: some drivers send each image more than once. A closed shutter lasts longer."""
BLANK = 1.0
"""Standard deviation in grey levels below which a thermal image shows nothing, as behind a closed shutter."""
LOOK_NS = 1_000_000_000
"""How often the alignment of both images is checked."""
LOOKS, ENOUGH_LOOKS = 7, 3
"""How many of the last checks are judged together, and how many are needed: contours of a single one may mislead."""
WIDTH, REACH = 240, 10
"""Width to which images are reduced for a check, and the largest offset in pixels that is then sought."""
COMMON = 0.05
"""How far the likeness at the best place must exceed the mean for checks to be believed. Real pairs of 240 pixels have
0.06 to 0.29, also at night. Pairs of different scenes have 0.01 to 0.03 where seven checks are taken together."""
MOST = 0.015
"""Largest shift of the thermal image, as a share of the width; images further apart are not fused."""
STEP = 0.75
"""Pixels by which the measured offset must change before the thermal image is moved; it is moved by whole pixels."""


class Thermal:
    """The thermal camera of one pipeline. `geometry` takes camera_info and transforms, from any thread."""

    def __init__(self, config: Config) -> None:
        self.geometry = Geometry(config)
        self.inside = np.zeros((1, 1), np.uint8)
        """(H, W) uint8: 255 where the thermal image shows the left view, less towards its border, 0 beyond it."""
        self._tolerance_ms = config.thermal_tolerance_ms
        self._levels, self._tone = LevelsOfCamera(), ToneOfCamera()
        self._last: Frame | None = None
        self._changed_ns = 0
        self._fault = ""
        self._grey = np.zeros((1, 1), np.uint8)
        self._registration: Registration | None = None
        self._sizes: tuple[Size, Size] | None = None
        self._warp: Warp | None = None
        self._misfit = ""
        self._shown: np.ndarray | None = None
        self._looks: deque[np.ndarray] = deque(maxlen=LOOKS)
        self._looked_ns = -LOOK_NS
        self._apart: tuple[float, float] = (0.0, 0.0)

    def look(self, frame: Frame | None, left: Frame, visible: np.ndarray, now_ns: int) -> str:
        """Why the thermal frame nearest to a `left` frame cannot be fused; empty where it can.

        `visible` is what the left camera sees, (H, W, 1 or 3) uint8. `now_ns` must only rise.
        """
        if frame is None:
            return f"no thermal frame within {self._tolerance_ms:g} ms of the left one"
        if frame is not self._last:
            self._take(frame, now_ns)
        if self._fault:
            return self._fault
        try:
            self._fit(frame, left, visible.shape[:2])
        except RegistrationError as error:
            return str(error)
        if now_ns - self._looked_ns >= LOOK_NS:
            self._looked_ns = now_ns
            self._compare(visible)
        width = visible.shape[1]
        distance = float(np.hypot(*self._apart))
        return (
            f"thermal and left image are {distance:.0f} px apart, more than {MOST * width:.0f}; calibrate again"
            if distance > MOST * width
            else ""
        )

    @property
    def shown(self) -> np.ndarray:
        """What the last frame shows of the left view, (H, W) uint8. Only valid after `look` returned an empty text."""
        assert self._warp is not None
        if self._shown is None:
            self._shown = self._warp(self._grey)
        return self._shown

    def _take(self, frame: Frame, now_ns: int) -> None:
        """Check a new frame by itself."""
        last, self._last, self._shown = self._last, frame, None
        try:
            seen = leveled(frame, self._levels, now_ns)
            deep = seen.levels if LAYOUTS[frame.encoding].channels == 1 else None
            self._grey = to_grey(seen) if deep is None else self._tone.follow(seen.image, deep, now_ns)
        except FrameError as error:
            self._fault = f"thermal: {error}"
            return
        same = last is not None and np.array_equal(last.image, frame.image)
        if not same:
            self._changed_ns = now_ns
        frozen_ns = now_ns - self._changed_ns
        self._fault = ""
        if same and frozen_ns > FROZEN_NS:
            self._fault = f"the thermal image has been the same for {frozen_ns / 1e9:.1f} s"
        elif float(cv2.meanStdDev(self._grey)[1].item()) < BLANK:
            self._fault = "the thermal image shows nothing; is its shutter closed?"

    def _fit(self, frame: Frame, left: Frame, size: tuple[int, ...]) -> None:
        """Prepare for the current sizes and registration; RegistrationError where they do not fit."""
        registration = self.geometry.registration(left.frame_id, frame.frame_id)
        sizes = (size[0], size[1]), size_of(frame)
        if registration is self._registration and sizes == self._sizes:
            if self._warp is None:
                raise RegistrationError(self._misfit)
            return
        if isinstance(registration, Homography) and self._warp is not None and self._sizes is not None:
            now, before = (f"{w}x{h} and {v}x{u}" for (u, v), (h, w) in (sizes, self._sizes))
            raise RegistrationError(
                f"thermal and left images are now {now}, and were {before}: thermal_homography "
                "is valid for one size; restart the node after calibrating again"
            )
        self._warp, self._registration, self._sizes, self._shown, self._apart = None, registration, sizes, None, (0, 0)
        self._looks.clear()
        try:
            self._warp = Warp(registration, *sizes)
        except (RegistrationError, cv2.error) as error:
            self._misfit = str(error)
            raise RegistrationError(self._misfit) from error
        self.inside = self._warp.inside

    def _compare(self, visible: np.ndarray) -> None:
        """Measure how far apart both images are, and move the thermal one by that."""
        assert self._warp is not None
        height, width = visible.shape[:2]
        small = WIDTH, max(2 * REACH + 1, round(WIDTH * height / width))
        grey = cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY) if visible.shape[2] == 3 else visible[..., 0]
        seen, warm, inside = (
            cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            for image in (grey, self._warp.unmoved(self._grey), self.inside)
        )
        contours = structure(warm)
        contours[inside < 255] = 0
        common = structure(seen)
        energy = float(np.linalg.norm(common) * np.linalg.norm(contours))
        self._looks.append(likeness(common, contours, REACH) / max(energy, 1e-6))
        if len(self._looks) < ENOUGH_LOOKS:
            return
        together = np.mean(self._looks, axis=0)
        column, row = peak(together)
        if max(abs(column), abs(row)) > REACH - 1 or together.max() - together.mean() < COMMON:
            return
        apart = column * width / small[0], row * height / small[1]
        if max(abs(apart[0] - self._apart[0]), abs(apart[1] - self._apart[1])) >= STEP:
            self._apart, self._shown = (float(round(apart[0])), float(round(apart[1]))), None
            self._warp.move(*self._apart)
