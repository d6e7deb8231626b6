"""What Ray's processes print reaches the run's log, once and in order."""

from __future__ import annotations

from orchestrator.cluster import printed
from orchestrator.cluster.printed import Printed


def test_lines_come_once_and_whole_without_rays_marks(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(printed, "EVERY_S", 60.0)
    out, err = tmp_path / "worker-1.out", tmp_path / "worker-1.err"
    out.write_bytes(b":job_id:01000000\n:task_name:f\none\nhal")
    (tmp_path / "raylet.out").write_bytes(b"nothing for the log\n")
    follows = Printed(tmp_path)
    follows.look()
    assert capsys.readouterr().out == "worker-1.out:\none\n"
    follows.look()
    assert capsys.readouterr().out == ""
    with out.open("ab") as file:
        file.write(b"f\n")
    err.write_bytes(b"wrong: \xff\n")
    follows.look()
    assert capsys.readouterr().out == "half\nworker-1.err:\nwrong: \ufffd\n"
    with err.open("ab") as file:
        file.write(b":actor_name:Host\nlast\nand a line without an end")
    follows.look()
    assert capsys.readouterr().out == "last\n"
    follows.close()
    assert capsys.readouterr().out == "and a line without an end\n"


def test_what_is_long_comes_in_parts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(printed, "EVERY_S", 60.0)
    monkeypatch.setattr(printed, "MOST_BYTES", 8)
    (tmp_path / "gcs_server.err").write_text("0123456789abcdef\nend\n")
    follows = Printed(tmp_path)
    for part in ("gcs_server.err:\n01234567", "89abcdef", "\nend\n", ""):
        follows.look()
        assert capsys.readouterr().out == part
    with (tmp_path / "gcs_server.err").open("a") as file:
        file.write("the end\nis long\n")
    follows.close()
    assert capsys.readouterr().out == "the end\n(8 more bytes are left out)\n"
