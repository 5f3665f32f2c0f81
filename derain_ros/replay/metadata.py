"""Makes the metadata.yaml of a bag, in the format of ROS 2 Jazzy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from rosbags.rosbag2.metadata import dump_qos_v9

from derain_ros.replay.records import Topic


@dataclass(frozen=True)
class Written:
    """One MCAP file of a bag: name, number of messages, and the times of the first and the last one in nanoseconds."""

    name: str
    count: int
    first_ns: int
    last_ns: int


def metadata_of(topics: Sequence[Topic], files: Sequence[Written]) -> str:
    """Return the metadata of a bag as YAML text; `topics` state their numbers of messages, `files` are in order."""
    filled = [file for file in files if file.count]
    first, last = min((f.first_ns for f in filled), default=0), max((f.last_ns for f in filled), default=0)
    return yaml.safe_dump(
        {
            "rosbag2_bagfile_information": {
                "version": 9,
                "storage_identifier": "mcap",
                **_span(first, last, sum(file.count for file in files)),
                "topics_with_message_count": [
                    {
                        "topic_metadata": {
                            "name": t.name,
                            "type": t.msgtype,
                            "serialization_format": t.serialization,
                            "offered_qos_profiles": dump_qos_v9(list(t.qos)),
                            "type_description_hash": t.digest,
                        },
                        "message_count": t.count,
                    }
                    for t in topics
                ],
                "compression_format": "",
                "compression_mode": "",
                "relative_file_paths": [file.name for file in files],
                "files": [{"path": f.name, **_span(f.first_ns, f.last_ns, f.count)} for f in files],
                "custom_data": None,
                "ros_distro": "jazzy",
            }
        },
        sort_keys=False,
        allow_unicode=True,
    )


def _span(first_ns: int, last_ns: int, count: int) -> dict[str, object]:
    return {
        "duration": {"nanoseconds": last_ns - first_ns},
        "starting_time": {"nanoseconds_since_epoch": first_ns},
        "message_count": count,
    }
