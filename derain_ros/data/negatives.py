"""Hard negatives of the detector: pictures that are spoiled although nothing is on the glass."""

from __future__ import annotations

import cv2
import numpy as np

from derain_ros.rain.night import GAMMA, NightLight, to_picture


def spoil_scene(image: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A grey (H, W) uint8 picture with one fault of the scene, the light or the focus, drawn at random.

    The fault is one of: defocus of the whole camera (street lamps become discs), motion blur, veiling glare with lens
    ghosts, low sun, haze, a vignette, a textured wall, froth, the round rim of a housing, a night with street lamps, or
    the reflection of `other`, a grey uint8 picture of any size.
    """
    choice = int(rng.integers(13))
    if choice >= 11:
        height, width = image.shape
        return NightLight(height, width, rng, wet=float(rng.uniform(0.0, 0.8))).apply(image)
    linear = (image.astype(np.float32) / 255.0) ** GAMMA  # blur and glare add up light, not grey values
    if choice == 10:
        return to_picture(_reflection(linear, other, rng))
    faults = (_defocus, _motion, _flare, _low_sun, _haze, _vignette, _wall, _froth, _froth, _housing)
    return to_picture(faults[choice](linear, rng))


def exposure_table(rng: np.random.Generator, strong: bool) -> np.ndarray:
    """A look-up table (256,) uint8 of random gain, gamma and black level; `strong` reaches over- and underexposure."""
    reach = 1.2 if strong else 0.35
    gain, gamma = np.exp(rng.uniform(-reach, reach)), np.exp(rng.uniform(-reach, reach) / 2)
    black = rng.uniform(0.0, 0.15 if strong else 0.03)
    value = np.clip(gain * np.linspace(0.0, 1.0, 256) ** gamma, 0.0, 1.0)
    return np.rint(255.0 * (black + (1.0 - black) * value)).astype(np.uint8)


def spoil_signal(image: np.ndarray, rng: np.random.Generator, strong: bool) -> np.ndarray:
    """A grey (H, W) uint8 picture with sensor noise and JPEG artefacts, each at random; `strong` has more of both."""
    if rng.random() < (0.7 if strong else 0.4):
        sigma = rng.uniform(3.0, 16.0) if strong else rng.uniform(0.5, 4.0)
        noisy = image + rng.normal(0.0, sigma, image.shape).astype(np.float32)
        image = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < (0.6 if strong else 0.3):
        quality = int(rng.integers(8, 40) if strong else rng.integers(45, 95))
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))
    return image


def _defocus(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = linear.shape
    if rng.random() < 0.4:  # lamps, far brighter than the largest pixel value
        linear = linear.copy()
        for _ in range(int(rng.integers(3, 30))):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(linear, centre, max(1, height // 200), float(rng.uniform(2.0, 40.0)), -1)
    radius = max(1, round(height * rng.uniform(0.004, 0.035)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.float32)
    return cv2.filter2D(linear, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)


def _motion(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    reach = max(1, round(linear.shape[0] * rng.uniform(0.005, 0.04)))
    angle = rng.uniform(0.0, np.pi)
    path = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    delta = (round(reach * np.cos(angle)), round(reach * np.sin(angle)))
    cv2.line(path, (reach - delta[0], reach - delta[1]), (reach + delta[0], reach + delta[1]), 1.0, 1, cv2.LINE_8)
    return cv2.filter2D(linear, -1, path / path.sum(), borderType=cv2.BORDER_REFLECT)


def _flare(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = linear.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    middle = np.array([width / height / 2, 0.5])
    source = middle + rng.uniform(-0.7, 0.7, 2)
    distance = np.hypot(x - source[0], y - source[1])
    spread = rng.uniform(0.05, 0.25)
    light = rng.uniform(0.2, 1.2) * spread / (spread + distance) ** rng.uniform(1.0, 2.0) * 0.5
    for _ in range(int(rng.integers(0, 5))):  # reflections between the lenses lie on the line through the middle
        ghost = middle - (source - middle) * rng.uniform(-0.8, 1.2)
        edge = rng.uniform(0.02, 0.10) - np.hypot(x - ghost[0], y - ghost[1])
        light = light + rng.uniform(0.02, 0.12) * np.clip(edge / 0.01, 0.0, 1.0)
    return linear + light


def _low_sun(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sun in or beside the frame: its surroundings are overexposed, and glare lies over the rest."""
    height, width = linear.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    distance = np.hypot(x - rng.uniform(-0.1, 1.1) * width / height, y - rng.uniform(-0.1, 0.6))
    burnt = rng.uniform(0.5, 4.0) * np.exp(-((distance / rng.uniform(0.03, 0.2)) ** 2))
    return linear * rng.uniform(0.2, 0.8) + burnt + rng.uniform(0.05, 0.4) * np.exp(-distance / rng.uniform(0.2, 0.6))


def _reflection(linear: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A window's reflection: the other picture faintly over this one, with a second copy from the pane's other face."""
    ghost: np.ndarray = cv2.resize(other, linear.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    ghost = cv2.GaussianBlur(ghost**GAMMA, (0, 0), float(rng.uniform(0.5, 4.0)))
    ghost = ghost + rng.uniform(0.0, 0.6) * np.roll(ghost, tuple(rng.integers(-8, 9, 2)), (0, 1))
    strength = float(rng.uniform(0.08, 0.4))
    return (1.0 - strength) * linear + strength * ghost


def _wall(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A textured surface over part or all of the picture: bricks, a grid, stripes, pebbles or grain."""
    height, width = linear.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, pitch = rng.uniform(-0.4, 0.4), float(np.exp(rng.uniform(np.log(4.0), np.log(40.0))))
    u, v = (x * np.cos(angle) + y * np.sin(angle)) / pitch, (y * np.cos(angle) - x * np.sin(angle)) / pitch
    stretch = rng.uniform(1.0, 3.0)
    pattern = int(rng.integers(4))
    texture: np.ndarray
    if pattern == 0:  # bricks: every second row is shifted by half a brick
        row = np.floor(v)
        column = u / stretch + 0.5 * (row % 2)
        texture = ((v - row > 0.15) & (column - np.floor(column) > 0.15 / stretch)).astype(np.float32)
    elif pattern == 1:  # a grid or stripes
        texture = ((np.sin(2 * np.pi * u) > rng.uniform(-0.9, 0.5)) | (rng.random() < 0.5)).astype(np.float32)
        texture = texture * (np.sin(2 * np.pi * v / stretch) > rng.uniform(-0.9, 0.5))
    else:  # grain of one size, or pebbles: the grain above a threshold
        noise = cv2.GaussianBlur(rng.standard_normal(linear.shape).astype(np.float32), (0, 0), pitch / 8)
        noise = noise / (noise.std() + 1e-6)
        texture = np.clip(0.5 + 0.4 * noise, 0.0, 1.0) if pattern == 2 else (noise > 0.3).astype(np.float32)
    texture = cv2.GaussianBlur(texture, (0, 0), float(rng.uniform(0.3, 1.5)))
    where = np.zeros_like(linear)
    corners = (rng.uniform(-0.3, 1.3, (4, 2)) * (width, height)).astype(np.int32)
    cv2.fillConvexPoly(where, cv2.convexHull(corners), 1.0)
    if rng.random() < 0.3:
        where[:] = 1.0
    return linear * (1.0 - where * rng.uniform(0.3, 0.9) * (1.0 - texture))


def _froth(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Froth over part or all of the picture: bubbles of many sizes, each with a rim and a highlight of the lamp."""
    height, width = linear.shape
    surface: np.ndarray = np.full(linear.shape, rng.uniform(0.02, 0.2), np.float32)
    smallest, largest = rng.uniform(0.006, 0.015), float(np.exp(rng.uniform(np.log(0.02), np.log(0.2))))
    turn, stretch = rng.uniform(0, 180), rng.uniform(1.0, 1.0 + rng.choice([0.3, 1.5]))
    lamp, glint = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.1, 0.3)
    body, bright = rng.uniform(0.05, 0.35), rng.uniform(0.4, 1.5)
    count = int(min(1200, rng.uniform(1.0, 3.0) * width / height / (2 * smallest * largest)))
    radii = np.sort(height * smallest * (largest / smallest) ** rng.beta(1.0, rng.uniform(1.5, 5.0), count))[::-1]
    for radius in radii:  # small ones fill the gaps between large ones
        x, y = rng.uniform(0, 1, 2) * (width, height)
        for reach, shade in ((1.0, 0.4 * body), (0.88, body * rng.uniform(0.6, 1.3))):
            _disc(surface, x, y, radius * reach * np.array([stretch, 1.0]), turn, shade)
        for _ in range(1 if rng.random() < 0.8 else 2):
            at = (x, y) + radius * (lamp + rng.normal(0, 0.12, 2))
            axes = radius * glint * np.array([stretch, 1.0])
            _disc(surface, at[0], at[1], axes, turn, bright * rng.uniform(0.5, 1.2))
    surface = cv2.GaussianBlur(surface, (0, 0), float(rng.uniform(0.4, 2.0)))
    where = np.ones(linear.shape, np.float32)
    if rng.random() < 0.5:
        where[:] = 0.0
        corners = (rng.uniform(-0.3, 1.3, (6, 2)) * (width, height)).astype(np.int32)
        cv2.fillConvexPoly(where, cv2.convexHull(corners), 1.0)
        cv2.GaussianBlur(where, (0, 0), float(rng.uniform(0.5, 3.0)), dst=where)
    return linear + where * (surface * rng.uniform(0.5, 1.5) - linear)


def _housing(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The view through a round port, or a lens so wide that the corners stay dark: a rim around the picture."""
    height, width = linear.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    middle = np.array([width / height / 2, 0.5]) + rng.normal(0, 0.08, 2)
    distance = np.hypot((x - middle[0]) / rng.uniform(1.0, 1.3), y - middle[1])
    rim = np.clip((distance - rng.uniform(0.48, 0.65)) / rng.uniform(0.005, 0.12), 0.0, 1.0)
    shade = rng.uniform(0.0, 0.02) if rng.random() < 0.5 else rng.uniform(0.02, 0.6) * (1 + rng.uniform(-0.5, 0.5) * y)
    return linear + rim * (shade - linear)


def _disc(picture: np.ndarray, x: float, y: float, axes: np.ndarray, turn: float, value: float) -> None:
    """Draw a filled ellipse of one value at a sub-pixel position; `turn` in degrees."""
    cv2.ellipse(
        picture,
        (round(16 * x), round(16 * y)),
        np.rint(16 * np.maximum(axes, 0.3)).astype(int).tolist(),
        turn,
        0,
        360,
        float(value),
        -1,
        cv2.LINE_8,
        4,
    )


def _haze(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    thickness = np.linspace(rng.uniform(0.3, 0.9), rng.uniform(0.0, 0.6), linear.shape[0], dtype=np.float32)[:, None]
    return linear * (1.0 - thickness) + thickness * float(rng.uniform(0.2, 0.8))


def _vignette(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = linear.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return linear * (1.0 - rng.uniform(0.3, 1.0) * np.minimum(1.0, (x**2 + y**2) / 2) ** rng.uniform(1.0, 2.0))
