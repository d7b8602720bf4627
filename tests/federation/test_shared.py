"""What calls share reaches each client as its own, and arrays that are decoded once are Flower's arrays still."""

from __future__ import annotations

import copy
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from fedvm.federation.engines.flower_task import set_server_identity
from fedvm.federation.engines.grid import InProcessGrid, make_nodes
from fedvm.federation.engines.shared import Reader, Shared
from fedvm.federation.ready_arrays import ReadyArray

ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(4, dtype=">i4"),
    "scalar": np.array(7.5),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "bool": np.array([True, False]),
    "half": np.arange(3, dtype=np.float16),
}


@pytest.fixture(autouse=True)
def _server() -> None:
    set_server_identity(1)


def content() -> RecordDict:
    return RecordDict(
        {
            "arrays": ArrayRecord({name: Array(value) for name, value in ARRAYS.items()}),
            "config": ConfigRecord({"rates": [1.0, 2.0]}),
        }
    )


@pytest.mark.parametrize("name", ARRAYS)
def test_a_ready_array_is_what_flower_would_decode(name):
    array = Array(ARRAYS[name])
    for ready in (ReadyArray.of(array), copy.copy(ReadyArray.of(array))):
        ours, theirs = ready.numpy(), array.numpy()
        assert np.array_equal(ours, theirs)
        assert (ours.dtype, ours.shape, ours.strides) == (theirs.dtype, theirs.shape, theirs.strides)
        assert ours.flags.writeable and ready.object_id == array.object_id


def test_what_a_client_writes_into_an_array_is_its_own():
    ready = ReadyArray.of(Array(np.zeros(3)))
    ready.numpy()[:] = 1
    assert not ready.numpy().any() and not Array(*ready.__reduce__()[1]).numpy().any()


def test_an_array_that_is_given_other_bytes_has_their_elements():
    ready = ReadyArray.of(Array(np.zeros(3)))
    ready.data = Array(np.ones(3)).data
    assert ready.numpy().all()


def test_it_leaves_the_process_as_an_ordinary_array():
    ready = ReadyArray.of(Array(np.ones(3)))
    assert type(pickle.loads(pickle.dumps(ready))) is Array
    assert type(copy.deepcopy(ready)) is Array


@pytest.mark.parametrize(
    "array",
    [
        Array("float32", (3,), "pytorch", b"\x93NUMPY\x01\x00"),
        Array("float32", (3,), "numpy.ndarray", b""),
        Array("float32", (3,), "numpy.ndarray", Array(np.ones(3)).data[:-1]),
        Array("float32", (3,), "numpy.ndarray", b"\x93NUMPY\x01\x00\x04\x00{'a'" + bytes(12)),
    ],
    ids=["another-kind", "nothing", "cut-off", "malformed"],
)
def test_what_is_no_npy_file_is_left_to_flower(array):
    assert ReadyArray.of(array) is array


def test_what_is_shared_is_written_once_and_deleted():
    made, other = content(), ("what", "takes", "in")
    with Shared(itertools.count()) as shared:
        place, again, third = shared.place_of(made), shared.place_of(made), shared.place_of(other)
        assert place == again != third
        found = Reader().content_at(place)
        assert found["config"] == made["config"] and found["arrays"].keys() == made["arrays"].keys()
        assert Reader().at(third) == other
    assert not Path(place.path).exists() and not Path(third.path).exists()


def test_each_reader_may_change_what_it_reads():
    with Shared(itertools.count()) as shared:
        reader, place = Reader(), shared.place_of(content())
        first = reader.content_at(place)
        first["config"]["rates"].append(3.0)
        del first["arrays"]["bool"]
        first["arrays"]["float32"].data = b""
        second = reader.content_at(place)
    assert second["config"]["rates"] == [1.0, 2.0] and "bool" in second["arrays"]
    assert np.array_equal(second["arrays"]["float32"].numpy(), ARRAYS["float32"])


def test_another_object_at_the_same_path_is_read_anew(tmp_path):
    numbers, reader, seen = itertools.count(), Reader(), []
    for thing in ("one", "other"):
        with Shared(numbers) as shared:
            place = shared.place_of(thing)
            path = tmp_path / "same"
            path.write_bytes(Path(place.path).read_bytes())
            seen.append(reader.at(type(place)(str(path), place.number)))
    assert seen == ["one", "other"]


def test_a_reader_keeps_few():
    with Shared(itertools.count()) as shared:
        places = [shared.place_of(thing) for thing in ("a", "b", "c")]
        reader = Reader()
        read = [reader.at(place) for place in places]
        assert read == ["a", "b", "c"]
        Path(places[0].path).unlink()
        with pytest.raises(FileNotFoundError):
            reader.at(places[0])
        assert reader.at(places[2]) == "c"


@pytest.mark.parametrize("workers", [0, 2])
def test_clients_of_a_round_do_not_see_each_others_changes(workers):
    app = ClientApp()

    @app.train()
    def train(message, context):
        received = message.content
        seen = float(received["arrays"]["x"].numpy().sum())
        received["arrays"]["x"] = Array(np.full(4, 100.0))
        received["config"]["rate"] = 9.0
        return Message(
            RecordDict({"arrays": ArrayRecord({"x": Array(np.full(4, seen))}), "config": received["config"]}),
            reply_to=message,
        )

    made = RecordDict(
        {"arrays": ArrayRecord({"x": Array(np.ones(4))}), "config": ConfigRecord({"rate": 1.0})}
    )
    with InProcessGrid(make_nodes(app, [{}] * 5), seed=1, workers=workers) as grid:
        for _ in range(2):
            asked = [Message(made, node, "train") for node in grid.get_node_ids()]
            replies = list(grid.send_and_receive(asked))
            assert [float(reply.content["arrays"]["x"].numpy()[0]) for reply in replies] == [4.0] * 5
    assert made["config"]["rate"] == 1.0 and made["arrays"]["x"].numpy().sum() == 4.0
