"""Reading the configuration: what a person sees when something in it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from medk2n_node.config import load_config
from medk2n_node.errors import ConfigError


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    file = tmp_path / "node.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ)
    assert caught.value.exit_code == 3
    return str(caught.value).replace(str(file), "FILE")


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_valid_key(tmp_path: Path) -> None:
    text = "[node]\nport = 11113\n\n[completion]\nquiet_secnds = 5\n"
    assert refusal(tmp_path, text) == (
        "FILE line 5: completion.quiet_secnds: there is no such key. "
        "Did you mean completion.quiet_seconds? A valid example: quiet_seconds = 60"
    )


def test_a_key_in_the_wrong_section_is_led_to_the_right_one(tmp_path: Path) -> None:
    assert "Did you mean completion.quiet_seconds?" in refusal(tmp_path, "[node]\nquiet_seconds = 5\n")


def test_a_misspelt_section_is_named(tmp_path: Path) -> None:
    text = refusal(tmp_path, "[complection]\nquiet_seconds = 5\n")
    assert text.startswith("FILE line 1: complection: there is no such key")


def test_a_value_of_the_wrong_type_is_refused_with_an_example(tmp_path: Path) -> None:
    text = refusal(tmp_path, '[node]\nport = "11112"\n')
    assert (
        text
        == 'FILE line 2: node.port: Input should be a valid integer, not "11112". A valid example: port = 11112'
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[node]\nport = 70000\n", "line 2: node.port"),
        ("[completion]\nquiet_seconds = 0\n", "line 2: completion.quiet_seconds"),
        ("[completion]\nquiet_seconds = nan\n", "line 2: completion.quiet_seconds"),
        ('[node]\nae_title = "SEVENTEEN_LETTERS"\n', "1 to 16 printable ASCII characters"),
        ('[node]\nae_title = "   "\n', "line 2: node.ae_title"),
        ('[targets]\nallowed = ["T1", "PD"]\n', "line 2: targets.allowed[1]"),
        (
            '[[peers]]\nae_title = "A"\nhosts = ["not a host"]\n',
            'example: hosts = ["10.1.2.3", "10.1.4.0/24"]',
        ),
        ('[[peers]]\nhosts = ["10.0.0.1"]\n', "line 1: peers[0].ae_title: this key is required"),
        (
            "[completion]\nquiet_min_seconds = 90\nquiet_max_seconds = 20\n",
            "must not be above quiet_max_seconds",
        ),
        ("[node]\ntls_port = 2762\n", "tls_port needs tls_certificate and tls_key"),
        ('[results]\ncontent_qualification = "PRODUCT"\n', "needs qualification_decided_by"),
        ('[synthesis]\ndevice = "gpu"\n', "line 2: synthesis.device"),
        ("[retention]\nreceived_days = 30\n", "deletes nothing"),
        ('[[classification.overrides]]\ndescription = "("\ncontrast = "T1"\n', "not a regular expression"),
        ("[node\nport = 1\n", "not valid TOML"),
    ],
)
def test_an_impossible_value_is_refused_with_words(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(tmp_path, text)


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    block = '[[destinations]]\nname = "pacs"\nae_title = "A"\nhost = "h"\nport = 104\n'
    assert "two destinations are called 'pacs'" in refusal(tmp_path, block * 2)


def test_the_second_block_of_an_array_is_found_by_its_own_line(tmp_path: Path) -> None:
    text = '[[peers]]\nae_title = "A"\n[[peers]]\nae_title = "B"\nport = 5\n'
    assert refusal(tmp_path, text).startswith("FILE line 5: peers[1].port: there is no such key")


def test_the_environment_outranks_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[completion]\nquiet_seconds = 60\n", encoding="utf-8")
    environ = {
        "MEDK2N__COMPLETION__QUIET_SECONDS": "5",
        "MEDK2N__NODE__AE_TITLE": "123",
        "MEDK2N__TARGETS__ALLOWED": '["FLAIR"]',
        "MEDK2N__DESTINATIONS": '[{name = "pacs", ae_title = "ORTHANC", host = "127.0.0.1", port = 4242}]',
        "OTHER": "x",
    }
    config = load_config(file, environ)
    assert config.completion.quiet_seconds == 5
    assert config.node.ae_title == "123"
    assert config.targets.allowed == ("FLAIR",)
    found = config.destination("pacs")
    assert found is not None and found.port == 4242


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    text = refusal(tmp_path, "", MEDK2N__COMPLETION__QUIET_SECONDS="soon")
    assert text.startswith(
        "environment variable MEDK2N__COMPLETION__QUIET_SECONDS: completion.quiet_seconds:"
    )
    assert "MEDK2N__NODE__PROT" in refusal(tmp_path, "", MEDK2N__NODE__PROT="1")


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[node]\nstorage = "keep"\n', encoding="utf-8")
    config = load_config(file, {})
    assert config.storage_path == tmp_path / "keep"
    assert config.node.database == f"sqlite:///{tmp_path}/var/medk2n.db"


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: the configuration file cannot be read"):
        load_config(tmp_path / "absent.toml", {})
