"""The page of a replay in a real browser: on a phone, by mouse and keyboard, in print, from a file."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from derain_ros.replay.account import Account, Output
from derain_ros.replay.record import Record
from derain_ros.replay.shown import FUSED, RESTORED, SEEN, picture
from derain_ros.report import page

sys.path.insert(0, str(Path(__file__).parent))

from browser import Browser, program  # noqa: E402

pytestmark = pytest.mark.skipif(program() is None, reason="there is no Chromium here to open the page")
IMAGE = np.full((90, 120), 90, np.uint8)
BORDER = "getComputedStyle(document.querySelector('.slider .after')).clipPath"


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    outputs = [Output("left", k * 10**8, "restored", True, 0.9, 30.0 + k) for k in range(20)]
    pictures = [
        picture("left", 0, {SEEN: IMAGE, RESTORED: IMAGE + 50}, IMAGE),
        picture("left", 0, {SEEN: IMAGE, RESTORED: IMAGE + 50, FUSED: IMAGE + 90}, None),
    ]
    page.write(path, Record("Rain", "Latency", Account(Counter(left=20), outputs), pictures))
    with Browser(path, 390, 800) as browser:
        yield browser


def test_every_picture_loads_and_nothing_is_wider_than_a_phone(phone: Browser) -> None:
    shown = phone.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert shown == [True] * 8
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    assert phone.evaluate("performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:'))") == []


def test_the_border_follows_a_press_and_the_arrow_keys(phone: Browser) -> None:
    assert phone.evaluate(BORDER) == "inset(0px 0px 0px 50%)"
    phone.evaluate("document.querySelector('.slider input').focus()")
    phone.press("ArrowRight", 39)
    assert phone.evaluate(BORDER) == "inset(0px 0px 0px 51%)"
    left, top, width = phone.evaluate(
        "(({left, top, width}) => [left, top, width])(document.querySelector('.slider').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        where = {"x": left + 0.25 * width, "y": top + 20, "button": "left", "clickCount": 1}
        phone.call("Input.dispatchMouseEvent", type=kind, **where)
    assert 20 <= int(phone.evaluate("document.querySelector('.slider input').value")) <= 30
    second = "getComputedStyle(document.querySelectorAll('.slider .after')[1]).clipPath"
    assert phone.evaluate(second) == "inset(0px 0px 0px 50%)", "each has a border of its own"


def test_the_border_follows_a_finger(phone: Browser) -> None:
    phone.call("Emulation.setTouchEmulationEnabled", enabled=True)
    left, top, width = phone.evaluate(
        "(({left, top, width}) => [left, top, width])(document.querySelector('.slider').getBoundingClientRect())"
    )
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.6), ("touchMove", 0.8), ("touchEnd", None)):
        points = [] if share is None else [{"x": left + share * width, "y": top + 20}]
        phone.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    phone.call("Emulation.setTouchEmulationEnabled", enabled=False)
    assert 75 <= int(phone.evaluate("document.querySelector('.slider input').value")) <= 85


def test_the_slider_says_what_it_does(phone: Browser) -> None:
    labels = phone.evaluate("[...document.querySelectorAll('.slider input')].map(i => i.ariaLabel)")
    assert labels == [
        "left: border between seen and published, in percent",
        "left: border between seen and fused, in percent",
    ]


def test_in_print_both_are_side_by_side(phone: Browser) -> None:
    assert base64.b64decode(phone.call("Page.printToPDF")["data"]).startswith(b"%PDF")
    phone.call("Emulation.setEmulatedMedia", media="print")
    before, after = phone.evaluate(
        "[...document.querySelectorAll('.slider')[0].querySelectorAll('img')].map(i => i.getBoundingClientRect().left)"
    )
    assert after > before and phone.evaluate(BORDER) == "none"
    assert phone.evaluate("getComputedStyle(document.querySelector('.slider input')).display") == "none"
    phone.call("Emulation.setEmulatedMedia", media="")
