"""Runs ORB-SLAM3 on stereo pairs as a separate program: `python program.py JOB.json`, with `pyorbslam3` installed.

ORB-SLAM3 is under the GPL, this package is not. It never imports this file, but starts it and reads its output file.
JOB.json has the `vocabulary` and `settings` files; for each of the `eyes` the `file` of raw uint8 images and their
`shape` (N, H, W); `pairs` of [seconds, index of the left image, index of the right one]; the period `period_s` of the
pairs; and `output`, a file that gets one JSON line for each pair: `pose` (4x4, camera to world) or null, and `points`,
the number of tracked points.
"""

import json
import os
import sys
import time

import numpy as np
import pyorbslam3


def main(path: str) -> None:
    """Track the pairs of a job and write each result at once, because ORB-SLAM3 may crash at any pair."""
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    left, right = (np.memmap(eye["file"], np.uint8, "r", shape=tuple(eye["shape"])) for eye in job["eyes"])
    slam = pyorbslam3.Slam(job["vocabulary"], job["settings"], pyorbslam3.Sensor.STEREO)
    period_s = job["period_s"]
    with open(job["output"], "w", encoding="utf-8") as output:
        for seconds, i, j in job["pairs"]:
            begun = time.monotonic()
            found = slam.track_stereo(np.array(left[i]), np.array(right[j]), seconds)
            pose = np.asarray(found.pose_wc, float).tolist() if found.ok else None
            print(json.dumps({"pose": pose, "points": int(found.num_tracked_points)}), file=output, flush=True)
            # As on a robot, mapping runs in parallel with tracking. On a slow machine it still gets half a period.
            time.sleep(max(period_s / 2, period_s - (time.monotonic() - begun)))
    # Exit at once, because the threads of ORB-SLAM3 do not end properly.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
