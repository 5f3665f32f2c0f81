"""ORB-SLAM3 on stereo pairs, a program of its own: `python program.py JOB.json`, where `pyorbslam3` is installed.

ORB-SLAM3 is under the GPL, this package is not: the package never imports this file, it starts it and reads its files.
JOB.json names the `vocabulary` and the `settings`; of each of the `eyes` the `file` of raw bytes and their `shape`
(N, H, W); `pairs` of [seconds, index of the left image, index of the right one]; `period_s` from pair to pair; and
`output`, a file that gets one line of JSON for each pair: `pose` (4x4, camera to world) or null, and `points`.
"""

import json
import os
import sys
import time

import numpy as np
import pyorbslam3


def main(path: str) -> None:
    """Track the pairs of a job and write what was found, line by line: ORB-SLAM3 may crash at any of them."""
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
            # As on a robot the map is made beside the tracking; on a machine slower than that it gets its time, too.
            time.sleep(max(period_s / 2, period_s - (time.monotonic() - begun)))
    # Its threads do not end in order.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
