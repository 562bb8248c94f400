"""What a crawl of Swahili pages brings beside text: written for the tests, in the manner of real pages; kind -> documents."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

SENTENCES = """Wakulima wa kijiji chetu walivuna mahindi mengi mwaka huu kwa sababu mvua ilinyesha kwa wakati.
Mwalimu aliwaambia wanafunzi wasome kitabu hicho kabla ya mtihani wa mwisho wa muhula.
Serikali imetangaza kwamba barabara mpya kati ya miji hiyo miwili itajengwa kuanzia mwezi ujao.
Mama alipika wali na maharage, kisha akatuita sote tukale pamoja chini ya mwembe.
Daktari alisema ugonjwa huo unaweza kuzuiwa iwapo watu watanawa mikono kwa sabuni kila siku.
Timu ya taifa ilishinda mchezo wake wa kwanza baada ya kufunga mabao mawili katika kipindi cha pili.
Wavuvi walirudi pwani usiku wakiwa na samaki wachache kutokana na upepo mkali wa baharini.
Mtoto yule alilia sana alipopotea sokoni lakini polisi walimsaidia kumpata baba yake.
Bei ya mafuta imepanda tena na wafanyabiashara wanasema hali hiyo itaathiri bei za vyakula.
Hadithi hiyo inasimulia kuhusu sungura mjanja aliyemdanganya simba mara tatu msituni.""".split("\n")
"""Good text, from which the shuffled and stripped documents are made."""

CONTENT_WORDS = """wakulima kijiji mahindi mvua mwalimu wanafunzi kitabu mtihani barabara miji mama wali maharage mwembe daktari
ugonjwa mikono sabuni timu taifa mchezo mabao wavuvi pwani samaki upepo mtoto soko polisi baba mafuta wafanyabiashara
vyakula hadithi sungura simba msitu nyumba shamba gari ndege mlima ziwa jua nyota mwezi maji chumvi sukari asali chai
kahawa ng'ombe mbuzi kuku mlango dirisha kiti meza kalamu daftari shule hospitali benki duka redio simu""".split()

PRODUCTS = "Simu,Televisheni,Friji,Jiko,Pasi,Kompyuta,Redio,Feni,Kitanda,Sofa,Meza,Viatu,Shati,Suruali,Gauni,Mkoba".split(",")
TOWNS = "Arusha,Dodoma,Mwanza,Mbeya,Tanga,Morogoro,Iringa,Moshi,Tabora,Kigoma,Nairobi,Mombasa,Kisumu,Nakuru,Eldoret".split(",")


def junk() -> dict[str, list[str]]:
    """About a hundred documents, the same in every call."""
    chance = random.Random(7)
    return {
        "menu": _menus(chance),
        "link list": _links(chance),
        "keyword stuffing": _keywords(chance),
        "shuffled words": [_shuffled(chance) for _ in range(8)],
        "no function words": [" ".join(chance.choices(CONTENT_WORDS, k=90)) + "." for _ in range(6)],
        "template": _templates(chance),
        "code": _code(),
        "table": _tables(chance),
        "lorem ipsum": _lorem(chance),
        "banner": _banners(),
        "price list": _prices(chance),
        "hashtags": _hashtags(chance),
        "repeated sentence": [(f"{sentence} " * 12).strip() for sentence in SENTENCES[:4]]
        + ["\n".join([sentence] * 9) for sentence in SENTENCES[4:7]],
        "attributes": _attributes(chance),
        "comment spam": _spam(chance),
        "fluent": FLUENT,
        "other language": OTHER_LANGUAGES,
    }


def variety() -> Iterator[tuple[str, str]]:
    """Kind and text of ever new documents, no two made alike; the kinds take turns."""
    kinds: dict[str, Callable[[random.Random], list[str]]] = {
        "menu": _menus, "link list": _links, "keyword stuffing": _keywords, "template": _templates, "table": _tables,
        "price list": _prices, "hashtags": _hashtags, "attributes": _attributes, "comment spam": _spam,
        "shuffled words": lambda chance: [_shuffled(chance)],
        "no function words": lambda chance: [" ".join(chance.choices(CONTENT_WORDS, k=90)) + "."],
    }  # fmt: skip
    for seed in itertools.count():
        chance = random.Random(seed)
        for kind, make in kinds.items():
            yield kind, chance.choice(make(chance))


def _menus(chance: random.Random) -> list[str]:
    entries = (
        "Nyumbani,Habari,Michezo,Burudani,Siasa,Biashara,Afya,Teknolojia,Video,Picha,Kuhusu Sisi,Wasiliana Nasi,Ingia,Jisajili,"
        "Tafuta,Matangazo,Ajira,Magazeti,Makala,Maoni,Kimataifa,Afrika,Tanzania,Kenya,Uganda,Redio,Sera ya Faragha,Masharti"
    ).split(",")
    separators = ["\n", " | ", " » ", " ", "\n- "]
    return [separator.join(chance.sample(entries, 26) + chance.sample(entries, 12)) for separator in separators]


def _links(chance: random.Random) -> list[str]:
    def address() -> str:
        host, page = chance.choice(CONTENT_WORDS).replace("'", ""), chance.choice(TOWNS).lower()
        return f"https://www.{host}.example/{page}/{chance.randrange(999)}"

    return [
        "\n".join(address() for _ in range(25)),
        "\n".join(f"Soma zaidi: {address()}" for _ in range(20)),
        "\n".join(f"{number}. {chance.choice(TOWNS)} – {address()}" for number in range(1, 25)),
        "Viungo: " + ", ".join(f"[{chance.choice(CONTENT_WORDS)}]({address()})" for _ in range(20)),
    ]


def _keywords(chance: random.Random) -> list[str]:
    def phrases(number: int) -> list[str]:
        return [f"{chance.choice(PRODUCTS).lower()} bei nafuu {chance.choice(TOWNS)}" for _ in range(number)]

    return [
        ", ".join(phrases(40)),
        " ".join(phrases(40)),
        ". ".join(f"Nunua {phrase}" for phrase in phrases(30)),
        ", ".join(f"mkopo wa haraka {town}, mikopo {town}, pata mkopo {town}" for town in TOWNS),
        "\n".join(f"Kazi {town} nafasi za kazi {town} ajira mpya {town} leo" for town in TOWNS),
    ]


def _shuffled(chance: random.Random) -> str:
    words = " ".join(SENTENCES).replace(".", "").replace(",", "").split()
    return " ".join(chance.sample(words, len(words))).capitalize() + "."


def _templates(chance: random.Random) -> list[str]:
    return [
        "\n".join(
            f"Hali ya hewa {town}: nyuzi {chance.randrange(18, 34)}, mvua asilimia {chance.randrange(90)}" for town in TOWNS
        ),
        "\n".join(f"Ndege kutoka {one} kwenda {two}. Weka tiketi ya {one} {two}." for one in TOWNS[:5] for two in TOWNS[5:9]),
        "\n".join(f"{{{{ jina_{number} }}}} | {{{{ tarehe_{number} }}}} | {{% if picha %}}" for number in range(20)),
        "\n".join(
            f"Matokeo ya {town} FC dhidi ya {chance.choice(TOWNS)} FC: {chance.randrange(5)}-{chance.randrange(5)}"
            for town in TOWNS
        ),
    ]


def _code() -> list[str]:
    return [
        "function hesabu(jumla, idadi) {\n  if (idadi === 0) { return null; }\n  var wastani = jumla / idadi;\n"
        "  console.log('wastani: ' + wastani);\n  return wastani;\n}\nvar orodha = [1, 2, 3];\n"
        "for (var i = 0; i < orodha.length; i++) {\n  hesabu(orodha[i], i);\n}",
        "<div class='habari'><ul><li><a href='#'>Nyumbani</a></li><li><a href='#'>Habari</a></li></ul>"
        "<script>document.getElementById('jina').value = jina;</script></div>" * 2,
        "SELECT jina, umri, mji FROM watumiaji WHERE umri > 18 AND mji = 'Arusha' ORDER BY jina;\n"
        "INSERT INTO watumiaji (jina, umri, mji) VALUES ('Asha', 20, 'Moshi');\nUPDATE watumiaji SET umri = 21 WHERE id = 4;",
        ".kichwa { color: #fff; margin: 0 auto; padding: 4px 8px; }\n.mwili { font-size: 14px; line-height: 1.5; }\n"
        ".kitufe:hover { background: #c00; border: 1px solid #900; }\n@media (max-width: 600px) { .mwili { width: 100%; } }",
    ]


def _tables(chance: random.Random) -> list[str]:
    def number(most: int) -> int:
        return chance.randrange(most)

    return [
        "| Mkoa | Wakazi | Shule | Hospitali |\n|---|---|---|---|\n"
        + "\n".join(f"| {town} | {number(10**6)} | {number(900)} | {number(90)} |" for town in TOWNS),
        "Nafasi Timu Mechi Ushindi Sare Alama\n"
        + "\n".join(
            f"{place} {town} {chance.randrange(30)} {chance.randrange(20)} {chance.randrange(9)}"
            for place, town in enumerate(TOWNS, 1)
        ),
        "\n".join(
            f"{day}/{month}/2024\t{chance.choice(TOWNS)}\t{chance.randrange(999)}" for day in range(1, 15) for month in (3, 9)
        ),
        " ".join(f"{town} {chance.randrange(10**6)}" for town in TOWNS * 3),
    ]


def _lorem(chance: random.Random) -> list[str]:
    words = (
        "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna"
    ).split()
    return [" ".join(chance.choices(words, k=80)) + "." for _ in range(3)] + [
        "Habari. " + " ".join(chance.choices(words, k=60)) + ". Soma zaidi."
    ]


def _banners() -> list[str]:
    return [
        "Tovuti hii inatumia vidakuzi. Kubali zote. Kataa. Mipangilio ya vidakuzi.",
        "Tunatumia vidakuzi kuboresha huduma. Kubali | Kataa | Soma zaidi | Sera ya faragha | Mipangilio",
        "Vidakuzi muhimu: Imewashwa. Vidakuzi vya takwimu: Imezimwa. Vidakuzi vya matangazo: Imezimwa. Hifadhi. Kubali zote.",
        "Ukurasa haujapatikana. 404. Rudi nyumbani.",
        "Haki zote zimehifadhiwa © 2024. Sera ya Faragha. Masharti ya Matumizi. Wasiliana Nasi. Ramani ya Tovuti.",
        "Jiandikishe kupata habari. Barua pepe: Tuma. Facebook Twitter Instagram YouTube WhatsApp Telegram TikTok LinkedIn",
    ]


def _prices(chance: random.Random) -> list[str]:
    def price() -> str:
        return f"{chance.randrange(5, 900)},000"

    return [
        "\n".join(f"{product} ... TSh {price()}" for product in PRODUCTS),
        "\n".join(
            f"{product} {chance.choice('ABC')}{chance.randrange(90)} – Sh. {price()}/= (punguzo {chance.randrange(5, 50)}%)"
            for product in PRODUCTS
        ),
        ", ".join(f"{product} {price()}" for product in PRODUCTS * 2),
        "\n".join(f"Kilo 1 {word} {price()}" for word in CONTENT_WORDS[-30:]),
    ]


def _hashtags(chance: random.Random) -> list[str]:
    return [
        " ".join(f"#{chance.choice(CONTENT_WORDS)}" for _ in range(40)),
        " ".join(f"😂😂 {chance.choice(CONTENT_WORDS)} 🔥🔥🔥 #{chance.choice(TOWNS)} ❤" for _ in range(20)),
        " ".join(f"@{chance.choice(TOWNS).lower()}{chance.randrange(99)} #{chance.choice(CONTENT_WORDS)}" for _ in range(25)),
        " ".join(f"{chance.choice(['😍', '👏👏', '🙏🙏🙏', 'hahaha', 'lol', 'safi', 'sawa'])}" for _ in range(60)),
    ]


def _attributes(chance: random.Random) -> list[str]:
    keys = "Rangi,Ukubwa,Uzito,Chapa,Nyenzo,Hali,Urefu,Upana,Kimo,Nguvu,Betri,Kioo,Kamera,Udhamini,Nchi,Msimbo".split(",")
    values = "Nyeusi,Nyeupe,Kubwa,Ndogo,Mpya,Chuma,Plastiki,Pamba,Ngozi,China,India,Mwaka 1,5 kg,220 V,4000 mAh,12 cm".split(
        ","
    )
    return [
        separator.join(f"{key}{joint}{value}" for key, value in zip(keys, chance.sample(values, len(keys)), strict=True))
        for separator, joint in (("\n", ": "), ("; ", ": "), (" | ", " = "), (", ", " "))
    ]


def _spam(chance: random.Random) -> list[str]:
    return [
        "\n".join(f"{name}: Asante sana kaka, nimepata hela leo!!! Piga 07{chance.randrange(10**8):08}" for name in TOWNS),
        "PATA PESA HARAKA!!! BONYEZA HAPA!!! >>> http://pesa.example/?id=77 <<< BURE!!! BURE!!! BURE!!! LEO TU!!! " * 3,
        "💰💰 Shinda milioni 5 💰💰 Jisajili 👉 bit.example/x1 👈 Bonasi 100% 🎰🎰 Cheza kasino mtandaoni 🎲🎲 Beti sasa ⚽⚽ "
        * 2,
        "Nice post! Very good blog, thanks for sharing. Visit my site for cheap pills and casino bonus. Asante sana. " * 2,
        " ".join(
            f"Like {number} Jibu Shiriki Ripoti {chance.choice(TOWNS)} saa {number} zilizopita" for number in range(1, 20)
        ),
    ]


FLUENT = [
    "Tovuti hii inatumia vidakuzi ili kuboresha huduma zetu na kukuonyesha matangazo yanayokufaa. Kwa kuendelea "
    "kutumia tovuti hii unakubali matumizi ya vidakuzi kama ilivyoelezwa katika sera yetu ya faragha. Unaweza kubadilisha "
    "mipangilio yako. Bonyeza kitufe cha kukubali ili kuendelea kusoma.",
    "Nilikuwa na shida kubwa ya fedha kwa miaka mitatu mpaka nilipompata daktari huyu wa miti shamba ambaye alinisaidia ndani "
    "ya siku saba tu. Kama na wewe una shida ya mapenzi, kazi au biashara mpigie leo na hutajuta hata kidogo.",
    "Karibu katika duka letu ambapo utapata bidhaa bora kwa bei nafuu kuliko maduka yote ya mjini. Tunaleta mzigo hadi "
    "mlangoni kwako bila malipo ya ziada na unaweza kulipa baada ya kupokea. Wasiliana nasi sasa kabla ya bidhaa kuisha.",
]
"""Fluent Swahili that nobody wants: no count of words or lines tells it from text."""

OTHER_LANGUAGES = [
    "The government announced on Monday that a new road between the two towns will be built next year, and farmers in the area "
    "said that they hope to bring their maize to the market faster than before.",
    "Le gouvernement a annoncé lundi qu'une nouvelle route sera construite entre les deux villes l'année prochaine, et les "
    "agriculteurs de la région espèrent pouvoir vendre leur maïs plus vite qu'auparavant.",
    "O governo anunciou na segunda-feira que uma nova estrada será construída entre as duas cidades no próximo ano, e os "
    "agricultores da região esperam vender o seu milho mais depressa do que antes.",
    "Die Regierung kündigte am Montag an, dass im nächsten Jahr eine neue Straße zwischen den beiden Städten gebaut wird, und "
    "die Bauern der Gegend hoffen, ihren Mais schneller auf den Markt zu bringen als bisher.",
    "Gwamnati ta sanar a ranar Litinin cewa za a gina sabuwar hanya tsakanin garuruwan biyu a shekara mai zuwa, kuma manoma "
    "sun ce suna fatan kai masararsu kasuwa da sauri fiye da da.",
    "Dowladdu waxay Isniintii ku dhawaaqday in sannadka soo socda la dhisi doono waddo cusub oo u dhaxaysa labada magaalo, "
    "beeralayduna waxay rajaynayaan inay si dhakhso ah u keenaan galleyda suuqa.",
    "Pemerintah mengumumkan pada hari Senin bahwa jalan baru antara kedua kota itu akan dibangun tahun depan, dan para petani "
    "di daerah itu berharap dapat membawa jagung mereka ke pasar lebih cepat daripada sebelumnya.",
    "El gobierno anunció el lunes que el próximo año se construirá una nueva carretera entre las dos ciudades, y los "
    "agricultores de la zona esperan llevar su maíz al mercado más rápido que antes.",
]
