"""What spoils a picture without anything on the glass: the hard negatives of the detector."""

from __future__ import annotations

import cv2
import numpy as np


def spoil_scene(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A grey (H, W) uint8 picture with one fault of light or focus, as the glass would then be looked through.

    Defocus of the whole camera (with street lamps that become discs), motion blur, veiling glare with ghosts of the
    lens, haze, or a vignette.
    """
    faults = (_defocus, _motion, _flare, _haze, _vignette)
    linear = (image.astype(np.float32) / 255.0) ** 2.2  # blur adds up light, not grey values
    spoiled = faults[int(rng.integers(len(faults)))](linear, rng)
    return np.clip(255.0 * np.clip(spoiled, 0.0, 1.0) ** (1 / 2.2) + 0.5, 0, 255).astype(np.uint8)


def exposure_table(rng: np.random.Generator, strong: bool) -> np.ndarray:
    """A (256,) uint8 look-up table of gain, contrast and gamma; `strong` reaches over- and under-exposure."""
    reach = 1.2 if strong else 0.35
    gain, gamma = np.exp(rng.uniform(-reach, reach)), np.exp(rng.uniform(-reach, reach) / 2)
    black = rng.uniform(0.0, 0.15 if strong else 0.03)
    value = np.clip(gain * np.linspace(0.0, 1.0, 256) ** gamma, 0.0, 1.0)
    return np.rint(255.0 * (black + (1.0 - black) * value)).astype(np.uint8)


def spoil_signal(image: np.ndarray, rng: np.random.Generator, strong: bool) -> np.ndarray:
    """A grey (H, W) uint8 picture with the noise of a sensor and the blocks of JPEG; `strong` has much of them."""
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
    if rng.random() < 0.4:  # lamps, far brighter than what a picture can hold
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


def _haze(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    thickness = np.linspace(rng.uniform(0.3, 0.9), rng.uniform(0.0, 0.6), linear.shape[0], dtype=np.float32)[:, None]
    return linear * (1.0 - thickness) + thickness * float(rng.uniform(0.2, 0.8))


def _vignette(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = linear.shape
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j].astype(np.float32)
    return linear * (1.0 - rng.uniform(0.3, 1.0) * np.minimum(1.0, (x ** 2 + y ** 2) / 2) ** rng.uniform(1.0, 2.0))
