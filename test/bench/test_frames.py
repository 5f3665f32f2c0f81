from __future__ import annotations

from dataclasses import replace

import numpy as np

from derain_ros.bench.frames import precisions, shape_for, wet_frames, wet_views
from derain_ros.manifest import Manifest


def test_frames_are_those_of_a_stereo_pair(manifest: Manifest) -> None:
    grey = wet_frames(manifest.get("restore_mono"), (2, 48, 64))["image"]
    colour = wet_frames(manifest.get("restore_rgb"), (1, 48, 64))["image"]
    assert grey.shape == (2, 48, 64, 1) and colour.shape == (1, 48, 64, 3) and grey.dtype == np.uint8
    assert np.array_equal(colour[0, ..., 0], grey[0, ..., 0]) and not np.array_equal(grey[0], grey[1])
    assert colour[..., 2].mean() < colour[..., 0].mean()
    temporal = replace(manifest.get("restore_mono"), task="temporal", channels=9)
    assert wet_frames(temporal, shape_for(temporal, 2, 50, 64))["image"].shape == (2, 26, 32, 9)
    detector = manifest.get("detect")
    assert wet_frames(detector, shape_for(detector, 1, 48, 64))["image"].shape == (1, 96, 128, 1)
    assert shape_for(manifest.get("fuse"), 2, 48, 64) == (1, 48, 64)
    fuser = wet_frames(manifest.get("fuse"), (1, 48, 64))
    assert {name: image.shape for name, image in fuser.items()} == dict.fromkeys(
        ("visible", "infrared", "mask"), (1, 48, 64, 1)
    )


def test_there_are_drops_on_the_lens() -> None:
    from derain_ros.rain.scene import Scene, rig

    wet = next(wet_views(1, 48, 64))
    dry = Scene(7).render(rig(64, 48)["left"], 1.0)[0]
    assert 0.01 < (np.abs(wet.astype(int) - dry) > 5).mean() < 0.9


def test_models_that_differ_in_precision_only_are_one_group(manifest: Manifest) -> None:
    mono, rgb, detector = (manifest.get(name) for name in ("restore_mono", "restore_rgb", "detect"))
    small = replace(mono, name="restore_mono_int8", precision="int8")
    quick = replace(mono, name="quick", plan="light")
    filters = [
        replace(mono, name=name, task="temporal", precision=precision)
        for name, precision in (("temporal", "float32"), ("temporal_steady_int8", "int8"), ("temporal_int8", "int8"))
    ]
    assert [[model.name for model in group] for group in precisions(filters)] == [
        ["temporal", "temporal_int8"],
        ["temporal_steady_int8"],
    ]
    groups = precisions([small, detector, rgb, mono, quick, replace(detector, name="detect2")])
    assert [[model.name for model in group] for group in groups] == [
        ["restore_mono", "restore_mono_int8"],
        ["detect"],
        ["restore_rgb"],
        ["quick"],
        ["detect2"],
    ]
