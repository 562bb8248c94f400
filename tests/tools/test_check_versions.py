"""A commit that changes a stage says what that does to its bytes."""

from __future__ import annotations

import pytest

from tools.check_versions import silent_stages, stage_of

TOUCHED = "diff --git a/tasks/corpus.py b/tasks/corpus.py\n@@ -3 +3 @@\n-    old\n+    new\n"
RAISED = TOUCHED + "@@ -90 +90 @@\n-    version=3,\n+    version=4,\n"
FOLDER = "tasks/annotate/quality"
KERNEL = f"diff --git a/{FOLDER}/kernel.py b/{FOLDER}/kernel.py\n@@ -3 +3 @@\n-    old\n+    new\n"
QUALITY = f"diff --git a/{FOLDER}/__init__.py b/{FOLDER}/__init__.py\n@@ -9 +9 @@\n-    version=3,\n+    version=4,\n"


@pytest.mark.parametrize(
    ("message", "patch", "silent"),
    [
        ("Split a function", TOUCHED, ["tasks/corpus.py"]),
        ("Split a function\n\nSame bytes: the sha256 of the corpus did not change.", TOUCHED, []),
        ("Keep the first line", RAISED, []),
        ("Measure anew", KERNEL, ["tasks/annotate/quality"]),
        ("Measure anew", KERNEL + QUALITY, []),
        ("Measure anew, and change the corpus", KERNEL + QUALITY + TOUCHED, ["tasks/corpus.py"]),
        ("Say more in the README", "diff --git a/README.md b/README.md\n@@ -1 +1 @@\n-a\n+b\n", []),
    ],
)
def test_a_commit_raises_the_version_or_says_same_bytes(message: str, patch: str, silent: list[str]) -> None:
    assert silent_stages(message, patch) == silent


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("tasks/select/select.sql", "tasks/select"),
        ("tasks/pretrain/models/gpt2.py", "tasks/pretrain"),
        ("tasks/annotate/language/words.py", "tasks/annotate/language"),
        ("tasks/annotate/annotator.py", None),
        ("tasks/core/stage.py", None),
        ("tasks/annotate/language/lid_card.md", None),
        ("flows/dag.py", None),
    ],
)
def test_a_file_belongs_to_the_stage_in_whose_folder_it_is(path: str, stage: str | None) -> None:
    assert stage_of(path) == stage
