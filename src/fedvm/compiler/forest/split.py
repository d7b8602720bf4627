"""Which contract holds which tree; a tree too large for one is cut into a sum of smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fedvm.compiler.errors import CompileError
from fedvm.compiler.forest.integer import Branch, Leaf, Tree


def fitting(trees: Sequence[Tree], size: Callable[[Tree], int], most: int) -> list[tuple[Tree, int]]:
    """Trees of the same sum, each with its bytes of code, of which none takes more than `most`."""
    result: list[tuple[Tree, int]] = []
    for tree in trees:
        stack = [tree]
        while stack:
            piece = stack.pop()
            bytes_ = size(piece)
            if bytes_ <= most:
                result.append((piece, bytes_))
                continue
            halves = _halves(piece)
            if halves is None:
                raise CompileError(
                    f"a tree of {len(piece)} nodes takes {bytes_} bytes of code, more than a contract holds, and "
                    "cannot be cut further; limit the depth of the trees"
                )
            stack += reversed(halves)
    return result


def grouped(sized: Sequence[tuple[Tree, int]], first: int, rest: int) -> list[list[Tree]]:
    """The trees by contract, in order; first: bytes that the first contract has for them, rest: every other."""
    groups: list[list[Tree]] = [[]]
    room = first
    for tree, size in sized:
        if size > room:
            groups.append([])
            room = rest
        groups[-1].append(tree)
        room -= size
    return groups


def _halves(tree: Tree) -> tuple[Tree, Tree] | None:
    """The tree without a subtree of about half its nodes, and that subtree behind the same comparisons; leaves that the
    other has add nothing. None if there is no such subtree."""
    sizes = [1] * len(tree)
    for position in range(len(tree) - 1, -1, -1):
        node = tree[position]
        if isinstance(node, Branch):
            sizes[position] += sizes[node.yes] + sizes[node.no]
    inner = [p for p in range(1, len(tree)) if sizes[p] > 1]
    if not inner:
        return None
    chosen = min(inner, key=lambda p: abs(2 * sizes[p] - len(tree)))
    outputs = next(len(node.values) for node in tree if isinstance(node, Leaf))
    nothing = Leaf((0,) * outputs)

    def kept(position: int) -> bool:
        # Nodes stand in depth-first order: a subtree is a run of them.
        below = chosen <= position < chosen + sizes[chosen]
        return below or position <= chosen < position + sizes[position]

    rest = _rebuilt(tree, lambda p: nothing if p == chosen else tree[p])
    part = _rebuilt(tree, lambda p: tree[p] if kept(p) else nothing)
    if max(len(rest), len(part)) >= len(tree):
        return None
    return rest, part


def _rebuilt(tree: Tree, node_at: Callable[[int], Branch | Leaf]) -> Tree:
    made: list[Branch | Leaf] = []

    def add(position: int) -> int:
        node, here = node_at(position), len(made)
        made.append(node)
        if isinstance(node, Branch):
            made[here] = replace(node, yes=add(node.yes), no=add(node.no))
        return here

    add(0)
    return tuple(made)
