"""Sets the transport profile, with which Fast DDS carries whole images, unless the user has chosen another way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from derain_ros.resources import default_file

PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
"""The variable that Fast DDS 2 reads (ROS 2 Jazzy). An empty one stands for no profile at all."""
PROFILES = (PROFILE, "FASTDDS_DEFAULT_PROFILES_FILE")
"""It, and the one that Fast DDS 3 reads in its place."""
BUILTIN = "FASTDDS_BUILTIN_TRANSPORTS"
"""Names the transports of Fast DDS; a profile that has some of its own, as the shipped one, would overrule it."""


def is_fast_dds(environment: Mapping[str, str]) -> bool:
    """Whether the middleware is Fast DDS, the default where none is named."""
    return "fastrtps" in (environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp")


def chosen(environment: Mapping[str, str]) -> str:
    """The variable by which the user has chosen how images travel; empty where the shipped profile applies."""
    if not is_fast_dds(environment):
        return "RMW_IMPLEMENTATION"
    named = [name for name in (*PROFILES, BUILTIN) if environment.get(name)]
    without_profile = [name for name in PROFILES if name in environment]
    return (*named, *without_profile, "")[0]


def use_profile() -> None:
    """Take the shipped profile where the user has chosen nothing; before the first ROS context.

    A profile that the user has named by the variable of another Fast DDS is handed to the one that is there.
    """
    name = chosen(os.environ)
    if name == "":
        # Where the installation is incomplete images get lost, as `derain doctor` says; small ones arrive.
        with suppress(FileNotFoundError):
            os.environ.update(dict.fromkeys(PROFILES, str(default_file("fastdds.xml"))))
    elif name in PROFILES and os.environ[name]:
        os.environ.update({each: os.environ[name] for each in PROFILES if not os.environ.get(each)})
    else:
        for each in PROFILES:
            # Fast DDS would complain of an empty name.
            if os.environ.get(each) == "":
                del os.environ[each]
