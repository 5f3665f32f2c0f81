"""Finds the message types of a topic, by its definition in the bag."""

from __future__ import annotations

import logging
import re

from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from derain_ros.replay.records import Topic

logger = logging.getLogger(__name__)


def types_of(topic: Topic) -> Typestore:
    """Return the types of ROS 2 Jazzy, replaced by those that the topic defines where these can be used."""
    jazzy = get_typestore(Stores.ROS2_JAZZY)
    found: Typesdict = {}
    try:
        if topic.encoding.endswith("idl"):
            # rosbag2 joins the files of a type and of the types in it; the parser does not know includes.
            for text in re.split(r"^=+\nIDL: .*\n", topic.definition, flags=re.MULTILINE):
                found |= get_types_from_idl(re.sub(r"^#.*", "", text, flags=re.MULTILINE)) if text else {}
        elif topic.definition:
            found = get_types_from_msg(topic.definition, topic.msgtype)
        if any(jazzy.fielddefs.get(name) != fields for name, fields in found.items()):
            store = get_typestore(Stores.EMPTY)
            store.register({**jazzy.fielddefs, **found})
            store.get_msgdef(topic.msgtype)
            return store
    except Exception as error:  # a bad definition only matters if the type is not known otherwise
        logger.debug("%s: the definition of %s cannot be used: %r", topic.name, topic.msgtype, error)
    return jazzy
