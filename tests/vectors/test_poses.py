"""The library against protocol/vectors/pose.json, and the checker that knows only the standard."""

import json

from protocol.messages import Pose, decode_client, encode_client
from tests.vectors import check_poses
from tests.vectors.generate_poses import PATH, heard, rotations, said

VECTORS = json.loads(PATH.read_text())


def test_committed_vectors_are_what_the_library_writes_and_reads() -> None:
    assert json.loads(json.dumps({"rotations": rotations(), "said": said(), "heard": heard()})) == VECTORS


def test_a_pose_is_read_as_it_was_written() -> None:
    for vector in VECTORS["said"]:
        data = bytes.fromhex(vector["hex"])
        pose = decode_client(data)
        assert isinstance(pose, Pose)
        assert encode_client(pose) == data


def test_checker_reads_all_by_the_standard_alone() -> None:
    assert check_poses.check() == sum(map(len, VECTORS.values())) > 10
