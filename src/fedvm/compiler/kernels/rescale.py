"""From sums to values: shifted to the right, cut to their lanes, and of two channels in one word where there is room.

After the shift a value has far fewer bits than its lane. Where two values fit a lane beside each other, each with a
free bit above it, two channels share a word: the maxima and bounds that follow then serve both. Only the shift of the
second channel is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedvm.compiler import lanes
from fedvm.compiler.assembler import Assembler
from fedvm.compiler.filtering import scale_of
from fedvm.compiler.layout import ConvPlan


@dataclass(frozen=True)
class Channels:
    """Channels whose values lie in the same words, the second `shape.beside[1]` bits above the first. zeros: what means
    0 in each."""

    outputs: tuple[int, ...]
    shape: lanes.Shape
    zeros: tuple[int, ...]


def alone(plan: ConvPlan, output: int) -> Channels:
    """A channel in words of its own."""
    bits = plan.requant.widths[output]
    return Channels((output,), lanes.Shape(plan.lane_bits, plan.lanes, bits), (plan.requant.zero_of(output),))


def channels_of(plan: ConvPlan, outputs: range, *, paired: bool) -> list[Channels]:
    """The channels by the words that they share. paired: whether two may."""
    found: list[Channels] = []
    left = list(outputs)
    while left:
        pair = together(plan, left[0], left[1]) if paired and len(left) > 1 else None
        found.append(alone(plan, left[0]) if pair is None else pair)
        left = left[len(found[-1].outputs) :]
    return found


def together(plan: ConvPlan, first: int, second: int) -> Channels | None:
    """Two channels in one word, None if their lanes have no room for both."""
    requant = plan.requant
    if requant.clip is None or requant.table is not None or plan.tiling.rows > 1:
        return None
    bits = max(requant.widths[first], requant.widths[second], requant.clip.bit_length())
    least, most = bits + 1, plan.lane_bits - bits - 1
    if least > most:
        return None
    shift = shift_of(plan, second)
    apart = shift if least <= shift <= most else least  # then the second need not be shifted at all
    shape = lanes.Shape(plan.lane_bits, plan.lanes, bits, (0, apart))
    return Channels((first, second), shape, (requant.zero_of(first), requant.zero_of(second)))


def shift_of(plan: ConvPlan, output: int) -> int:
    """Bits by which the sums of an output are shifted to the right."""
    return plan.requant.shift[output] + (scale_of(plan).bit_length() - 1 if plan.filtered else 0)


def requantize(a: Assembler, plan: ConvPlan, output: int) -> None:
    """Shift right, clear the neighbours' bits, raise to the layer's zero. Stack: acc → u."""
    requant = plan.requant
    if needs_cut(plan, output):
        lanes.shift(a, -shift_of(plan, output))
        width = max(0, min(requant.bits, plan.lane_bits - requant.shift[output]))
        lanes.and_constant(a, lanes.replicate((1 << width) - 1, plan.lane_bits, plan.lanes))
    if requant.lift[output]:
        a.push(lanes.replicate(requant.lift[output], plan.lane_bits, plan.lanes))
        a.op("ADD", result="acc")


def needs_cut(plan: ConvPlan, output: int) -> bool:
    """Whether a word of sums has anything beside the values: bits to be shifted out, or above the lanes."""
    requant = plan.requant
    return bool(requant.shift[output]) or requant.high is not None or plan.lane_bits * plan.lanes < 256


def load_values(
    a: Assembler, plan: ConvPlan, channels: Channels, load: Callable[[int], None], *, cut: bool = True
) -> None:
    """The values of one word of sums of each channel in one word. load(i): appends the code that pushes the sums of
    channel i. cut: whether all bits beside the values are cleared; without, a single channel's are left as they come.
    Stack: → u"""
    for number, (output, up) in enumerate(zip(channels.outputs, channels.shape.beside, strict=True)):
        load(number)
        if needs_cut(plan, output):
            lanes.shift(a, up - shift_of(plan, output))
            if cut:
                width = _width(plan, channels, output)
                lanes.and_constant(a, lanes.replicate((1 << width) - 1 << up, plan.lane_bits, plan.lanes))
        if number:
            a.op("OR")
        a.rename("u")


def may_stay(plan: ConvPlan, channels: Channels) -> bool:
    """Whether the second operand of a maximum may have other bits beside its values: those of one channel, of which no
    bit of the value itself is foreign."""
    (output, *others) = channels.outputs
    return not others and _width(plan, channels, output) == channels.shape.bits


def _width(plan: ConvPlan, channels: Channels, output: int) -> int:
    return max(0, min(channels.shape.bits, plan.lane_bits - plan.requant.shift[output]))
