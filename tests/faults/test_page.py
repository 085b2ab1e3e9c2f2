"""A report goes where it belongs."""

import pytest

from tests.faults import page


@pytest.mark.parametrize("before", ["", "an older report\n"])
def test_report_replaces_the_last_one_of_its_section_and_nothing_else(tmp_path, monkeypatch, before):
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    text = "words\n<!-- load -->\n{}<!-- end of load -->\n<!-- soak -->\nkept\n<!-- end of soak -->\n"
    page.PAGE.write_text(text.format(before))
    page.publish("load", ["a", "b"])
    assert page.PAGE.read_text() == text.format("a\nb\n")
    with pytest.raises(ValueError, match="no two marks of a section 'none'"):
        page.publish("none", ["a"])
