"""The node as other programs of a hospital see it, over real sockets."""

import errno
import io
import os
import socket
import struct

import pytest

pytest.importorskip("pynetdicom")

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification

from dicoms import OPHTHALMIC_8, SECONDARY_CAPTURE, colours, to_bytes, with_pixels
from foveola.errors import PacsError
from foveola.server.dicom import node as module
from foveola.server.dicom.node import SYNTAXES, Node, NodeSettings
from foveola.server.dicom.spool import Spool

REPORT = "1.2.840.10008.5.1.4.1.1.88.33"
LIMIT = 100_000


class Running:
    def __init__(self, folder, **settings):
        self.spool = Spool(folder)
        self.arrived = 0
        settings = NodeSettings(port=0, object_bytes=LIMIT, **settings)
        self.node = Node(
            self.spool, settings, classes=[OPHTHALMIC_8, SECONDARY_CAPTURE], syntaxes=SYNTAXES, arrived=self.count
        )
        self.port = self.node.start()

    def count(self):
        self.arrived += 1

    def associate(self, *classes, calling="CAMERA", called="FOVEOLA", syntax=None):
        entity = AE(calling)
        for each in classes or (OPHTHALMIC_8, SECONDARY_CAPTURE, Verification):
            entity.add_requested_context(each, syntax)
        return entity.associate("127.0.0.1", self.port, ae_title=called)

    def stop(self):
        self.node.stop()
        self.spool.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    node = Running(tmp_path_factory.mktemp("node"), allowed=("CAMERA", "ORTHANC"))
    yield node
    node.stop()


@pytest.fixture
def node(running):
    for path in running.spool.waiting():
        path.unlink()
    running.arrived = 0
    return running


def image(side=72, **values):
    return pydicom.dcmread(io.BytesIO(to_bytes(with_pixels(colours(side, side), **values))))


def test_it_answers_an_echo(node):
    association = node.associate()
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_an_acknowledged_object_lies_in_the_spool_as_it_was_sent(node):
    sent = image(PatientName="Doe^Jane")
    association = node.associate(syntax=ExplicitVRLittleEndian)
    assert association.send_c_store(sent).Status == 0x0000
    association.release()
    (path,) = node.spool.waiting()
    kept = pydicom.dcmread(path)
    assert kept == sent
    assert kept.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert kept.file_meta.MediaStorageSOPInstanceUID == sent.SOPInstanceUID
    assert node.arrived == 1


def test_a_compressed_object_keeps_its_transfer_syntax(node):
    association = node.associate(OPHTHALMIC_8, syntax=[JPEGBaseline8Bit])
    assert association.accepted_contexts[0].transfer_syntax == [JPEGBaseline8Bit]
    association.release()


def test_who_is_not_allowed_is_turned_away(node):
    assert node.associate(calling="STRANGER").is_rejected
    assert node.associate(calling="ORTHANC").is_established
    assert node.associate(called="SOMEBODY").is_rejected
    assert node.spool.waiting() == []


def test_what_is_no_image_is_not_agreed_on(node):
    association = node.associate(OPHTHALMIC_8, REPORT)
    assert [each.abstract_syntax for each in association.rejected_contexts] == [REPORT]
    association.release()
    association = node.associate(REPORT)
    assert association.accepted_contexts == []
    association.abort()


def test_an_object_of_another_class_than_agreed_is_refused(node):
    association = node.associate(OPHTHALMIC_8, syntax=ExplicitVRLittleEndian)
    (context,) = association.accepted_contexts
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = REPORT, "1.2.3"
    request.DataSet = io.BytesIO(bytes(64))
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert answer.Status == 0x0122
    association.release()
    assert node.spool.waiting() == []


def test_an_oversize_object_is_refused_without_being_held_and_the_next_one_goes_on(node):
    association = node.associate(syntax=ExplicitVRLittleEndian)
    statuses = [association.send_c_store(image(side)).Status for side in (72, 512, 80)]
    association.release()
    assert statuses == [0x0000, 0xA700, 0x0000]
    assert [pydicom.dcmread(path).Rows for path in node.spool.waiting()] == [72, 80]


def test_the_bytes_of_an_oversize_object_are_dropped_as_they_come(node):
    seen = []
    real = node.node._store

    def store(event):
        seen.append(len(event.request.DataSet.getvalue()))
        return real(event)

    handlers = node.node._ae._servers[0]
    handlers.bind(evt.EVT_C_STORE, store)
    association = node.associate(syntax=ExplicitVRLittleEndian)
    assert association.send_c_store(image(1024)).Status == 0xA700  # 3 MB
    association.release()
    handlers.bind(evt.EVT_C_STORE, real)
    assert seen[0] <= LIMIT


def test_a_full_disk_is_told_to_the_sender(node, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    association = node.associate(syntax=ExplicitVRLittleEndian)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert association.send_c_store(image()).Status == 0xA700
    assert association.send_c_store(image()).Status == 0x0000
    association.release()
    assert len(node.spool.waiting()) == 1


def test_a_pdu_that_claims_four_gigabytes_closes_the_connection(node):
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as stranger:
        stranger.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + bytes(1000))
        assert stranger.recv(1) == b""
    assert node.associate().is_established


def test_a_pdu_that_never_ends_closes_the_connection(node, monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as stranger:
        stranger.sendall(struct.pack(">BBL", 1, 0, 1000) + bytes(10))
        assert stranger.recv(1) == b""


def test_no_more_senders_than_wanted(tmp_path):
    few = Running(tmp_path, associations=2)
    first, second = few.associate(), few.associate()
    assert first.is_established
    assert second.is_established
    assert few.associate().is_rejected
    first.release()
    second.release()
    few.stop()


def test_a_taken_port_is_told_in_a_sentence(node):
    taken = NodeSettings(port=node.port)
    with pytest.raises(PacsError, match=f"can't listen on 127.0.0.1 port {node.port}"):
        Node(node.spool, taken, classes=[OPHTHALMIC_8], syntaxes=SYNTAXES).start()


@pytest.mark.parametrize("title", ["", " ", "SEVENTEEN_LETTERS", "Ä", "A\\B", "A\n"])
def test_an_ae_title_that_is_none_is_refused(title):
    with pytest.raises(PacsError, match="is no AE title"):
        NodeSettings(ae_title=title)
    with pytest.raises(PacsError, match="is no AE title"):
        NodeSettings(allowed=(title,))
