"""What lies between the lens and the skin in a photograph: hair, bubbles of the contact gel, a ruler."""

from __future__ import annotations

import cv2
import numpy as np

from skinlesion.data.sources.drawn.noise import Array


def with_hair(picture: Array, rng: np.random.Generator) -> Array:
    """Return the picture with hair across it: curved, dark or fair, each hair as strong as chance has it."""
    height, width = picture.shape[:2]
    mask: Array = np.zeros((height, width), np.uint8)
    direction = rng.uniform(0, np.pi)
    count = int(rng.choice((rng.integers(2, 10), rng.integers(10, 34))))
    for _ in range(count):
        angle = direction + rng.normal(0, 0.45)
        middle = rng.uniform(0, 1, 2) * (width, height)
        along = np.array((np.cos(angle), np.sin(angle)))
        across = np.array((-along[1], along[0]))
        length, bend = height * rng.uniform(0.25, 1.1), rng.normal(0, 0.12)
        t = np.linspace(-0.5, 0.5, 20)[:, None]
        points = middle + length * (t * along + (bend * (1 - 4 * t**2) + rng.normal(0, 0.08) * t**3 * 4) * across)
        thickness = max(1, round(height / 450 * rng.uniform(0.9, 3.2)))
        strength = int(rng.uniform(120, 250))
        cv2.polylines(mask, [(points * 16).astype(np.int32)], False, strength, thickness, cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.45, height / 800))
    dark = (48.0, 34.0, 28.0) if rng.random() < 0.75 else (206.0, 176.0, 130.0)
    strands = cv2.transform(mask, np.array(dark, np.float32).reshape(3, 1) / 255)
    left = cv2.bitwise_not(mask)
    return np.asarray(cv2.add(cv2.multiply(picture, cv2.merge((left, left, left)), scale=1 / 255), strands))


def add_bubbles(picture: Array, rng: np.random.Generator) -> None:
    """Draw bubbles of the contact gel into the picture: a bright rim, dark on one side, and a glint."""
    height, width = picture.shape[:2]
    groups = rng.uniform(0, 1, (int(rng.integers(1, 4)), 2)) * (width, height)
    for _ in range(int(rng.integers(2, 16))):
        x, y = groups[rng.integers(len(groups))] + rng.normal(0, height * 0.09, 2)
        radius = height * rng.uniform(0.008, 0.035)
        left, right = max(0, int(x - 1.4 * radius)), min(width, int(x + 1.4 * radius) + 2)
        top, bottom = max(0, int(y - 1.4 * radius)), min(height, int(y + 1.4 * radius) + 2)
        if left >= right or top >= bottom:
            continue
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        dx, dy = (columns - x) / radius, (rows - y) / radius
        distance = np.sqrt(dx**2 + dy**2)
        rim = np.exp(-(((distance - 1) / 0.14) ** 2)) * (28 - 34 * (dx + dy) / np.maximum(distance, 0.3))
        glint = 120 * np.exp(-((dx + 0.4) ** 2 + (dy + 0.4) ** 2) / 0.025)
        part = picture[top:bottom, left:right]
        part[:] = np.clip(part + (rim + glint + 7 * (distance < 1))[:, :, None], 0, 255).astype(np.uint8)


def add_ruler(picture: Array, rng: np.random.Generator) -> None:
    """Draw a millimetre scale along one edge into the picture."""
    height, width = picture.shape[:2]
    along_bottom = rng.random() < 0.5
    length, depth = (width, height) if along_bottom else (height, width)
    step = height * rng.uniform(0.04, 0.065)
    edge = depth - height * rng.uniform(0.005, 0.05)
    for number in range(int(length / step) + 1):
        at = (number + 0.5) * step
        tip = edge - height * (0.055 if number % 5 == 0 else 0.03)
        ends = np.array(((at, edge), (at, tip)))
        pixels = (ends if along_bottom else ends[:, ::-1]) * 16
        cv2.polylines(
            picture, [pixels.astype(np.int32)], False, (38, 36, 40), max(1, round(height / 300)), cv2.LINE_AA, 4
        )
