"""Names of persons, so that one person's name compares equal however it was typed.

Promises: NFC, trimmed, one kind of middle dot; no character is ever dropped, however rare.
Refuses:  a name that was decoded with the wrong encoding (mojibake): U+FFFD, private-use characters only, or
          text whose bytes read back as a more likely name. A clean name with rare characters is never refused.
Not here: whether two names are one person's (marts/).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pyarrow.compute as pc

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v
from pipelines.identifiers.judgement import Judgement, judge_column, where

MIDDLE_DOT = "·"
_DOTS = re.compile("[•‧∙・･．ꞏ·]")  # NFKC does not unify them (DOMAIN E6)
_LONGEST = 100
# The hundreds of surnames that nearly everybody has, and first characters of double ones. Left out on purpose:
# 濮 宓 漶 and their like, whose GBK bytes begin as those of a common character's UTF-8 do.
SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜"
    "崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤常温康施文牛"
    "樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷曲盛冉"
    "蓝路游辛靳欧管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏"
    "宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝官封谈匡鞠惠荆乐冀郁胥南班"
    "储原栗燕楚鄢劳谌奚皮粟冼蔺楼盘满闻位厉伊仝区郜海阚花权强帅屠豆朴盖练廉禹井祖漆巴丰支卿国狄平计索宣晋相初门"
    "云容敬来扈晁芮都普阙浦戈伏鹿薄邸雍辜羊阎萧傅诸葛上官皇甫令狐慕尉迟公羊夏侯东方赫呼延宇长孙司徒肖赖洪孟"
)
_COMMON_CHARACTERS = frozenset(
    bytes((lead, trail)).decode("gb2312")
    for lead in range(0xB0, 0xD8)
    for trail in range(0xA1, 0xFF if lead < 0xD7 else 0xFA)
)
_CLEAN = "^[" + "".join(sorted(SURNAMES)) + r"][\x{4E00}-\x{9FEF}]{1,3}$"


def canonical(text: str) -> Judgement:
    """The name in canonical form, or no value and why not."""
    if "\ufffd" in text:
        return Judgement(None, v.MOJIBAKE)
    typed = unicodedata.normalize("NFC", text).strip()
    value = _DOTS.sub(MIDDLE_DOT, typed)
    if not value:
        return Judgement(None, v.EMPTY)
    if len(value) > _LONGEST or any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        return Judgement(None, v.BAD_FORMAT)
    return Judgement(None, v.MOJIBAKE) if is_mojibake(typed) else Judgement(value, v.OK)


def is_mojibake(value: str) -> bool:
    """Whether the text is what a wrong decoder made of another, likelier name."""
    if "锟斤拷" in value or "\ufffd" in value:  # U+FFFD, written as UTF-8 and read as GBK
        return True
    if all(unicodedata.category(character) == "Co" for character in value):
        return True
    return _reads_better(value, "gb18030") or _reads_better(value, "cp1252") or _reads_better(value, "latin-1")


def _reads_better(value: str, wrongly_read_as: str) -> bool:
    """Whether the UTF-8 of a likely name gives this text when it is read in another encoding."""
    if value[0] in SURNAMES:
        return False
    try:
        raw = value.rstrip("?").encode(wrongly_read_as)
    except UnicodeEncodeError:
        return False
    try:
        meant = raw.decode("utf-8")
    except UnicodeDecodeError as broken:
        if len(raw) - broken.start > 2:  # more than one character was cut off at the end
            return False
        meant = raw[: broken.start].decode("utf-8")
    likely = len(meant) >= 2 and all(c in _COMMON_CHARACTERS for c in meant[1:])
    return likely and (meant[0] in SURNAMES or (len(meant) >= 4 and meant[0] in _COMMON_CHARACTERS))


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict."""
    array = columns.one_array(column)
    clean = pc.and_not(pc.match_substring_regex(array, _CLEAN), pc.match_substring(array, "锟斤拷"))
    return judge_column(array, canonical, clean=where(clean))
