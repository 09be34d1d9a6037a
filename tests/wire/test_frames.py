"""Frames of a voice: what goes in comes out, however the pipe hands it over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengate_mp.errors import WireError
from tokengate_mp.wire.protocol import output as voice
from tokengate_mp.wire.protocol.output_frames import Frames

MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(voice.KINDS),
        st.integers(1, 2**22),
        st.integers(0, 2**64 - 1),
        st.integers(1, 3 * voice.TEXT),
        st.booleans(),
    ),
    max_size=8,
)


@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 9000), min_size=1, max_size=8))
def test_what_goes_in_comes_out(messages, cuts):
    """Every message comes out whole and in order, in frames that the kernel writes in one go."""
    stream = b""
    for kind, process, thread, length, fresh in messages:
        text = bytes(n % 251 for n in range(length))
        for frame in voice.frames(kind, process, thread, text, fresh=fresh):
            assert len(frame) <= voice.TEXT + voice.HEADER.size
            stream += frame
    frames, found, at = Frames(), [], 0
    while at < len(stream):
        step = cuts[len(found) % len(cuts)]
        found += frames.take_apart(stream[at : at + step])
        at += step
    whole, begun = [], b""
    for frame in found:
        if not begun:
            fresh = frame.fresh
        else:
            assert not frame.fresh
        begun += frame.text
        if frame.last:
            whole.append((frame.kind, *frame.speaker, len(begun), fresh))
            assert begun == bytes(n % 251 for n in range(len(begun)))
            begun = b""
    assert whole == messages
    assert begun == b""


@pytest.mark.parametrize(
    "junk",
    [
        voice.HEADER.pack(voice.TEXT + 1, voice.OUT, 1, 1),
        voice.HEADER.pack(1, 0, 1, 1),
        voice.HEADER.pack(1, 64, 1, 1),
    ],
)
def test_what_is_no_frame_is_refused(junk):
    """A length or a kind that there is not is an error, and no guess at what it might mean."""
    with pytest.raises(WireError):
        Frames().take_apart(junk)
