"""Small corpora in the shape that select writes, made of a few sentences written for these tests."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa

from tasks.core.artifacts import HELD_OUT
from tasks.core.documents import document_id, write_table

SENTENCES = {
    "swahili": [
        "Mvua ilinyesha usiku kucha, na asubuhi barabara zote za kijiji zilikuwa na matope.",
        "Mwalimu aliwaambia wanafunzi wasome kitabu hicho kabla ya siku ya Ijumaa.",
        "Bei ya mahindi sokoni imepanda hadi shilingi 4,500 kwa debe moja.",
        "Wavuvi wa ziwa wanasema samaki wamepungua kuliko miaka 10 iliyopita.",
        "Ng'ombe wa jirani yetu walivuka mto na kula mboga za bustani.",
        "Dada yangu anafanya kazi hospitalini; kila siku hupanda basi saa kumi na moja alfajiri.",
        "Je, umewahi kuona twiga akinywa maji? Lazima atanue miguu yake.",
        "Bibi alituhadithia hadithi ya sungura na fisi waliogombania asali.",
        "Timu ya shule ilishinda mabao 3-1, na watu wakaimba mpaka jioni.",
        "Ukitaka kupika wali wa nazi, kwanza kuna nazi na uchuje tui.",
    ],
    "amharic": [
        "ዛሬ ጠዋት ከቤት ስወጣ ዝናብ እየዘነበ ነበር።",
        "ልጆቹ ከትምህርት ቤት ሲመለሱ እናታቸው ምግብ አዘጋጅታ ጠበቀቻቸው።",
        "የቡና ዋጋ ካለፈው ዓመት ጋር ሲነጻጸር በ12 በመቶ ጨምሯል።",
        "አያቴ ስለ ድሮ ዘመን ብዙ ተረቶችን ታውቃለች።",
        "መምህሩ ተማሪዎቹን ወደ ሙዚየም ይዘዋቸው ሄዱ።",
        "ገበሬዎቹ ጤፍ ለመዝራት መሬቱን በበሬ እያረሱ ነው።",
        "እህቴ በሆስፒታል ውስጥ ነርስ ሆና ትሠራለች፤ ሥራዋን ትወዳለች።",
        "ነገ ወደ ባሕር ዳር በአውቶቡስ እንጓዛለን።",
    ],
    "yoruba": [
        "Òjò rọ̀ ní gbogbo òru, ọ̀nà sì kún fún ẹrẹ̀ ní òwúrọ̀.",
        "Olùkọ́ náà sọ fún àwọn akẹ́kọ̀ọ́ pé kí wọ́n ka ìwé náà.",
        "Ìyá àgbà máa ń sọ ìtàn ìjàpá fún wa ní alẹ́.",
        "Owó àgbàdo ti gbówó lórí ní ọjà láti ọ̀sẹ̀ tó kọjá.",
        "Ẹ̀gbọ́n mi ń ṣiṣẹ́ ní ilé ìwòsàn; ó fẹ́ràn iṣẹ́ rẹ̀ gan-an.",
        "Àwọn apẹja sọ pé ẹja kò pọ̀ mọ́ nínú odò náà.",
    ],
}


def text(language: str, rng: random.Random, sentences: int) -> str:
    """Sentences whose words are partly exchanged with those of others, in paragraphs."""
    words = " ".join(SENTENCES[language]).split()
    lines = []
    for _ in range(sentences):
        line = rng.choice(SENTENCES[language]).split()
        lines.append(" ".join(rng.choice(words) if rng.random() < 0.3 else word for word in line))
    return "".join(line + rng.choice([" ", " ", "\n", "\n\n"]) for line in lines).rstrip()


def documents(language: str, count: int, seed: int = 1, sentences: int = 12) -> list[str]:
    """`count` texts, each of up to `sentences` sentences; the same for the same seed."""
    rng = random.Random(seed)
    return [text(language, rng, rng.randint(1, sentences)) for _ in range(count)]


def write_split(folder: Path, split: str, texts: list[str], shards: int = 1, weights: list[float] | None = None) -> None:
    """Write texts as `<split>-00000.parquet` ...; sources alternate between two names."""
    rows = [
        {
            "id": document_id("test", str(i), one),
            "text": one,
            "source": ("magazeti", "blogu")[i % 2],
            "weight": weights[i] if weights else 1.0,
            "bytes": len(one.encode()),
        }
        for i, one in enumerate(texts)
    ]
    folder.mkdir(exist_ok=True)
    per_shard = -(-len(rows) // shards)
    for i in range(shards):
        write_table(
            pa.Table.from_pylist(rows[i * per_shard : (i + 1) * per_shard], SCHEMA), folder / f"{split}-{i:05d}.parquet"
        )


SCHEMA = pa.schema(
    [("id", pa.binary(16)), ("text", pa.string()), ("source", pa.string()), ("weight", pa.float64()), ("bytes", pa.int32())]
)


def write_corpus(folder: Path, language: str, count: int = 200, shards: int = 2) -> Path:
    """A corpus of `count` training documents, and some for validation and test."""
    write_split(folder, "train", documents(language, count), shards)
    for seed, split in enumerate(HELD_OUT, 2):
        write_split(folder, split, documents(language, max(count // 10, 4), seed=seed))
    return folder
