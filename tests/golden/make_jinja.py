"""Writes jinja.json: small templates, feature by feature, with what Python's jinja2 makes of them under transformers' settings, or that it
raises. Run with jinja2 3.1.6:

    python3 tests/golden/make_jinja.py
"""
import json
import pathlib
import platform

import jinja2

from jinja_reference import render

CONTEXT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Hi <there> & \"you\" \n"},
        {"role": "assistant", "content": "Grüße, 世界 😀", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1, "b": [1.5, None, True]}}}]},
    ],
    "tools": None,
    "bos_token": "<s>",
    "yes": True,
    "no": False,
    "nothing": None,
    "n": 7,
    "z": 0,
    "minus": -3,
    "x": 2.5,
    "s": "Hello, World",
    "e": "",
    "lines": "one\ntwo\n\nfour",
    "u": "äöü 世界 😀",
    "list": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "empty": [],
    "d": {"b": 1, "a": 2, "items": "own", "nested": {"k": [1, {"z": "deep"}]}},
    "people": [{"name": "Ada", "age": 36, "ok": True}, {"name": "Bob", "age": 5}, {"name": "cy", "age": 20, "ok": False}],
}

# Each line is the inside of {{ }}.
EXPRESSIONS = r"""
n
x
yes
no
nothing
missing
s
list
d
people
[]
{}
()
(1,)
(1, 2)
[1, 'a', none, true, 1.0]
{'a': 1, 2: 'b', none: 3}
'it''s'
"it's"
['it\'s', "say \"x\"", 'both \' and "']
'tab\tnewline\n back\\slash \x41 \u00e9 \101 \q'
['\x00\x1f\x7f\u00a0\u200b\u2028é世😀']
1 + 2
1 - 2 * 3
7 / 2
6 / 2
7 // 2
-7 // 2
7 // -2
7.5 // 2
-7 % 3
7 % -3
-7.5 % 2
7.25 % -2
2 ** 10
2 ** -1
2 ** 0.5
-2 ** 2
1 / 0
1 // 0
1 % 0
1.5e3
1e20
1e16
1e15
123456789012345680.0
1e-4
1e-5
0.1 + 0.2
1 / 3
100.0
-0.0
1_000
0x1F
0o17
0b101
9223372036854775807
true + true
yes * 3
'ab' * 3
3 * 'ab'
'ab' * -1
[1, 2] * 2
(1, 2) + (3,)
[1] + [2, 3]
'a' + 'b'
'a' + 1
'a' ~ 1 ~ none ~ 2.0 ~ true
1 ~ 2 + 3
missing + 'a'
missing ~ 'a'
-minus
+n
-'a'
not n
not e
n and s
z and s
z or s
e or nothing or 'last'
n or missing.x
n if yes
n if no
n if no else s
n if yes else missing.x
1 if no else 2 if no else 3
n == 7
n == 7.0
yes == 1
s == 'Hello, World'
'1' == 1
none == none
missing == missing2
missing == none
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
n != 7
1 < 2 < 3
1 < 3 < 2
'a' < 'b'
'B' < 'a'
[1, 2] < [1, 3]
1 < 'a'
none < 1
missing < 1
n >= 7
n <= 6
'ell' in s
'' in s
'x' not in s
1 in list
4 in list
'b' in d
'zz' in d
1 in s
'a' in missing
'a' in none
missing in list
list[0]
list[-1]
list[5]
list['a']
list[yes]
list.0
s[0]
s[-1]
s[50]
u[5]
u[-1]
s[1:4]
s[:-1]
s[::2]
s[::-1]
s[5:1:-2]
s[-3:]
u[4:6]
u[::-1]
list[1:]
list[::-1]
list[:10]
list[none:2]
(1, 2, 3)[1:]
s[2:1]
s[1.5:]
list[::0]
n[0]
n[0:1]
d['b']
d.b
d.nested.k[1].z
d['nested']['k'][0]
d.missing
d.missing.more
d['missing']
d.items
d['items']
d.items()
d.keys()
d.values()
d.values() | list
d.get('a')
d.get('zz')
d.get('zz', 5)
d.get('nested').get('k')
d.get()
none.a
none['a']
missing.a
missing['a']
missing()
n()
s.upper()
s.lower()
s.title()
'hELLO wORLD'.capitalize()
'  x '.strip() ~ '|'
'  x '.lstrip() ~ '|'
'  x '.rstrip() ~ '|'
'xxaxx'.strip('x')
'abcba'.strip('ab')
'\u00a0\u3000x\u2003'.strip() ~ '|'
s.split()
' a  b '.split()
'a,b,,c'.split(',')
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
' a b  c '.split(none, 1)
' a b  c '.rsplit(none, 1)
' a b '.split(none, 0)
'  '.split()
''.split(',')
'a--b--c'.split('--')[-1]
'abc'.split('')
'a' .join(['x', 'y'])
','.join(list)
s.replace('l', 'L')
s.replace('l', 'L', 1)
'abc'.replace('', '-')
s.startswith('Hell')
s.startswith(('x', 'H'))
s.endswith('World')
s.find('o')
s.find('zz')
s.rfind('o')
u.find('世')
s.index('zz')
s.count('l')
'aaa'.count('aa')
u.count('')
lines.splitlines()
'a\r\nb\rc'.splitlines(true)
'k=v=w'.partition('=')
'k=v=w'.rpartition('=')
'kv'.partition('=')
'prefix-x'.removeprefix('prefix-')
'x-suffix'.removesuffix('-suffix')
'7'.rjust(3, '0')
'7'.ljust(3) ~ '|'
'ab'.center(5, '*')
'abc'.center(6, '*')
'12'.isdigit()
'1a'.isdigit()
'ab'.isalpha()
'a1'.isalnum()
''.isdigit()
' \t'.isspace()
'AB'.isupper()
'ab'.islower()
'{} and {}'.format(1, 'a')
'{1}{0}{{}}'.format('a', 'b')
'{a}-{b}'.format(a=1, b=none)
'{}'.format()
'%s is %d%%' % ('a', 5)
'%s' % 'one'
'%s %s' % 'one'
'%r' % ('a',)
list.append(4)
list.pop()
d.update({'q': 1})
d.pop('b')
list.append is defined
list.copy()
list.index(2)
list.index(9)
list.count(1)
s.nomethod
s.nomethod()
s.__class__
s.__class__.__mro__
d.__class__
s | upper
s | lower
'some words-here (too)' | title
'sOME' | capitalize
'  pad ' | trim ~ '|'
'xxpadxx' | trim('x')
s | length
u | length
list | length
d | length
missing | length
n | length
list | count
list | first
list | last
empty | first
empty | last
s | first
missing | first
list | join
list | join(', ')
people | join(', ', attribute='name')
list | sort
list | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
people | sort(attribute='age') | map(attribute='name') | list
list | reverse | list
s | reverse
list | reverse
list | max
list | min
words | min
empty | max
list | sum
people | sum(attribute='age')
[1, 2.5] | sum
list | unique | list
['a', 'A', 'b'] | unique | list
'3' | int
'3.7' | int
'x' | int
'x' | int(5)
' 12 ' | int
3.9 | int
-3.9 | int
none | int
'1.5' | float
'x' | float
2 | float
-5 | abs
-5.5 | abs
2.5 | round
3.5 | round
2.567 | round(2)
2.1 | round(method='ceil')
-2.1 | round(method='floor')
7 | round
n | string
none | string
missing | string
list | string
s | list
d | list
missing | list
n | list
missing | default('x')
none | default('x')
none | default('x', true)
'' | default('x', boolean=true)
missing | d
s | default('x')
s | replace('o', '0')
s | replace('o', '0', 1)
n | replace('7', 'seven')
lines | indent
lines | indent(2, true)
lines | indent(2, first=true, blank=true)
lines | indent('> ')
d | items | list
missing | items | list
list | items
d | dictsort
d | dictsort(false, 'key', true)
{'b': 2, 'a': 10} | dictsort(by='value')
list | dictsort
people | map(attribute='name') | list
people | map(attribute='zz', default='-') | list
words | map('upper') | join
words | map('replace', 'a', 'q') | join
people | selectattr('ok') | map(attribute='name') | list
people | selectattr('ok', 'defined') | map(attribute='name') | list
people | selectattr('age', '>', 10) | map(attribute='name') | list
people | rejectattr('age', 'equalto', 5) | map(attribute='name') | list
list | select('odd') | list
list | select('gt', 1) | list
list | reject('odd') | list
[0, 1, '', 'a'] | select | list
none | selectattr('x') | list
people | selectattr('ok') | length
(people | selectattr('nope')) and 'always'
people | map(attribute='nested.deep') | list
d | attr('b')
s | attr('upper')
s | safe
('<b>' | safe) + '<&>' + "'\""
'<a>' + ('<b>' | safe)
('<b>' | safe) ~ '<a>'
'%s-%s' | format('a', 1)
d | tojson
messages | tojson
messages[2] | tojson(indent=2)
d | tojson(indent=1)
[] | tojson(indent=2)
{} | tojson(indent=4)
d | tojson(separators=(',', ':'))
d | tojson(sort_keys=true)
u | tojson
u | tojson(ensure_ascii=true)
'<a & \'b\'> "q" \\ \n\t\r\x00\x7f' | tojson
1.0 | tojson
1e100 | tojson
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
(1, 2) | tojson
missing | tojson
[missing] | tojson
list | map('string') | tojson
s | nofilter
s | tojson(nope=1)
s | upper | lower | length
-1 | abs
s is string
n is string
n is number
yes is number
x is number
n is integer
yes is integer
x is integer
x is float
n is float
d is mapping
list is mapping
list is iterable
s is iterable
n is iterable
missing is iterable
list is sequence
d is sequence
s is sequence
n is sequence
none is none
missing is none
n is not none
yes is boolean
n is boolean
yes is true
n is true
no is false
z is false
missing is defined
n is defined
d.zz is defined
missing is undefined
n is odd
n is even
n is divisibleby 7
n is divisibleby(3)
'abc' is lower
'ABC' is upper
n is eq 7
n is equalto(7)
n is ne 7
n is gt 3
n is lessthan 3
n is ge 7
n is le 3
2 is in list
9 is in(list)
none is sameas none
s is callable
s.upper is callable
s is notatest
n is not divisibleby 3
not n is none
n is defined and n > 3
missing is not defined or n
'upper' is filter
range(4) | list
range(1, 4) | list
range(5, 0, -2) | list
range(3) | length
range(3)[1]
range(200000)
range(1, 2, 0)
dict(a=1, b=2)
dict({'a': 1}, b=2)
namespace(a=1).a
namespace(a=1).b
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M')
raise_exception('stop')
messages[1].content
messages[1]['content'] | trim
messages[-1].tool_calls[0].function.arguments
messages[-1].tool_calls[0].function.arguments | tojson
messages | map(attribute='role') | join(',')
messages | selectattr('role', 'equalto', 'user') | list | length
(messages | last).content
messages[0]['role'] == 'system' and messages | length > 1
1 +
)
{'a': }
a b
1 is
'open
"""

STATEMENTS = [
    "{% if n > 3 %}big{% elif n > 1 %}mid{% else %}small{% endif %}",
    "{% if z %}a{% elif e %}b{% else %}c{% endif %}",
    "{% if missing %}a{% endif %}",
    "{% if n %}\n  a\n{% endif %}\nb",
    "  {% if n %}\n    a\n  {% endif %}\nb",
    "x  {% if n %}  y  {% endif %}  z",
    "x \n {%- if n %} y {%- endif %} z",
    "x \n {%- if n -%} \n y \n {%- endif -%} \n z",
    "  {%+ if n %}a{% endif %}",
    "{% if n +%}\na{% endif %}",
    "{% if n %}\n\n a{% endif %}\n",
    "a\n",
    "a\n\n",
    "a\r\nb\rc\r\n",
    "{{ n }}\n{{ n }}",
    "  {{ n }}  \n",
    "a {{- n -}} b",
    "a\n{{- n -}}\nb",
    "{# note #}a{# b\n c #}\nd",
    "  {# note #}\n a",
    "a {#- note -#} b",
    "x {# {{ n }} {% if %} #} y",
    "{% raw %}{{ n }}{% if %}{% endraw %}!",
    "a {%- raw -%} {{ n }} {%- endraw -%} b",
    "{% raw %}\n x{% endraw %}\ny",
    "{{ '{{' }}{{ '%}' }}",
    "{{ {'a': {'b': 1}}.a.b }}",
    "{ {% if n %}{{ '}' }}{% endif %} }",
    "{%if n%}a{%endif%}",
    "{%\n if n\n %}a{%\tendif %}",
    "{% for m in messages %}{{ m.role }},{% endfor %}",
    "{% for m in messages %}\n  {{ m.role }}\n{% endfor %}\n",
    "{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for i in list %}{{ loop.previtem }}-{{ loop.nextitem }};{% endfor %}",
    "{% for i in list %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for i in list %}{% for j in words %}{{ loop.depth }}{% endfor %}{% endfor %}",
    "{% for i in list %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for i in empty %}x{% else %}none{% endfor %}",
    "{% for i in list %}x{% else %}none{% endfor %}",
    "{% for i in missing %}x{% else %}none{% endfor %}",
    "{% for i in nothing %}x{% endfor %}",
    "{% for i in n %}x{% endfor %}",
    "{% for c in s %}{{ c }}.{% endfor %}",
    "{% for k in d %}{{ k }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}",
    "{% for k, v in d | items %}{{ k }}={{ v }} {% endfor %}",
    "{% for k, v in d | dictsort %}{{ k }}={{ v }} {% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }} {% endfor %}",
    "{% for a, b in [1, 2] %}{{ a }}{% endfor %}",
    "{% for a, b in ['xy', 'zw'] %}{{ b }}{{ a }}{% endfor %}",
    "{% for a, b in ['xyz'] %}{{ b }}{% endfor %}",
    "{% for i in list if i > 1 %}{{ i }}{{ loop.index }}{{ loop.length }}{{ loop.last }} {% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ m.role }}{% if not loop.last %}|{% endif %}{% endfor %}",
    "{% set ns = namespace(stop=false) %}{% for i in list if not ns.stop %}{{ i }}{% set ns.stop = true %}{% endfor %}",
    "{% set ns = namespace(stop=false) %}{% for i in list if not ns.stop %}{{ i }}{{ loop.last }}{% set ns.stop = true %}{% endfor %}",
    "{% for i in list if i > 5 %}x{% else %}none{% endfor %}",
    "{% for i in list %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in list %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in list %}{% for j in list %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% for i in range(3) %}{{ i }}{% endfor %}",
    "{% for i in list[::-1] %}{{ i }}{% endfor %}",
    "{% for i in list | reverse %}{{ i }}{{ loop.length }}{% endfor %}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}",
    "{% for m in messages[1:] %}{{ m.role }}{% endfor %}",
    "{% set a = 1 %}{% for i in list %}{{ a }}{% set a = a + i %}{{ a }} {% endfor %}{{ a }}",
    "{% set a = 1 %}{% if yes %}{% set a = 2 %}{% endif %}{{ a }}",
    "{% for i in list %}{% if loop.first %}{% set b = i %}{% endif %}{{ b }} {% endfor %}{{ b }}",
    "{% for i in list %}{% endfor %}{{ i }}{{ loop }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set a = (1, [2]) %}{{ a }}",
    "{% set a %}x{{ n }}{% endset %}{{ a }}{{ a | length }}",
    "{% set a | upper %}x{{ s }}{% endset %}{{ a }}",
    "{% set a | replace('o', '0') | upper %}{{ s }}{% endset %}{{ a }}",
    "{% set a %}{% set inner = 1 %}{% endset %}{{ inner }}|",
    "{% set ns = namespace(n=0, found=false) %}{% for i in list %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{{ ns.found }}",
    "{% set ns = namespace({'a': 1}) %}{% set ns.b = 2 %}{{ ns.a + ns.b }}{{ ns['a'] }}{{ ns.c is defined }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set d.a = 1 %}",
    "{% set missing.a = 1 %}",
    "{% set messages = messages[1:] %}{{ messages | length }}",
    "{% with a = 1, b = n %}{{ a + b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}",
    "{% macro f(a, b=2, c=n) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(1, c=4) }}{{ f(b=0, a=9) }}",
    "{% macro f(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}",
    "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, q=4) }}",
    "{% macro f() %}{{ n }}{{ later }}{% endmacro %}{% set later = 'L' %}{{ f() }}",
    "{% macro f() %}{% set n = 100 %}{{ n }}{% endmacro %}{{ f() }}{{ n }}",
    "{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "{% for i in list %}{{ f(i) }}{% endfor %}{% macro f(a) %}{{ a }}{% endmacro %}",
    "{% macro f(a) %}\n  {{ a }}\n{% endmacro %}\n{{ f(1) }}|",
    "{% macro f(a) -%}\n  {{ a }}\n{%- endmacro %}\n{{ f(1) | length }}|{{ f(1) == '1' }}",
    "{% macro f(x, y) %}{{ x }}-{{ y }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'x': 3, 'y': 4}) }}{{ f(1, *[5]) }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in{{ n }}{% endcall %}",
    "{% macro f(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) f(list) %}({{ x }}){% endcall %}",
    "{% macro f() %}{{ caller is defined }}{{ caller() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}",
    "{% filter upper %}a{{ s }}{% endfilter %}",
    "{% filter replace('l', 'L') | upper | trim %} {{ s }} {% endfilter %}",
    "{% generation %}a{{ n }}{% endgeneration %}b",
    "{% generation %}\na\n{% endgeneration %}\nb",
    "{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q is defined }}",
    "{% for i in list %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% print n, s %}",
    "{{ n }}{{ s }",
    "{% if n %}",
    "{% endif %}",
    "{% for i in list %}{% endif %}",
    "{% unknown %}",
    "{% if %}a{% endif %}",
    "{% for x of list %}{% endfor %}",
    "{% set 1 = 2 %}",
    "{% set none = 2 %}",
    "{% macro f(a=1, b) %}{% endmacro %}",
    "{{ n | }}",
    "{# open",
    "{% raw %}open",
    "{{ list[ }}",
    "{{ f(a=1, 2) }}",
    "{{ 'a' 'b' }}",
    "{{ [1, 2,] }}{{ (1, 2,) }}{{ {'a': 1,} }}",
    "{{ (n) }}{{ ((n)) }}",
    "{{ n if n else missing.a.b }}",
    "{{ people | map(attribute='name') | first }}{% set it = people | map(attribute='name') %}{{ it | first }}{{ it | list }}{{ it | list }}",
    "{% set it = [1, 2] | map('string') %}{% if it %}yes{% endif %}{% for i in it %}{{ i }}{% endfor %}{% for i in it %}{{ i }}{% endfor %}",
    "{% set content = 'a<think>b</think>c' %}{{ content.split('</think>')[-1].lstrip('\\n') }}{{ content.split('</think>')[0].rstrip('\\n').split('<think>')[-1] }}",
    "{% set x = {'a': [1, 2]} %}{{ x.a[0] }}{{ x['a'][-1] }}{{ x.a | length }}",
    "{% set s = [] %}{% for m in messages %}{% set s = s + [m.role] %}{% endfor %}{{ s }}",
    "{% if tools is not none and tools | length > 0 %}a{% else %}b{% endif %}",
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{{ system }}{{ rest | length }}",
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ '|' }}{% endif %}{{ '[' + message['role'] + ']' + message['content'] | trim }}{% endfor %}",
    "{% if not (n is defined and n is number) %}a{% endif %}b",
    "{% include 'x' %}",
    "{% extends 'x' %}",

]


def cases():
    for line in EXPRESSIONS.strip("\n").split("\n"):
        yield "{{ " + line + " }}"
    yield from dict.fromkeys(STATEMENTS)


def main():
    entries = []
    for source in cases():
        text, _ = render(source, CONTEXT)
        if text is not None and " at 0x" in text:  # an address
            continue
        entries.append({"source": source} if text is None else {"source": source, "text": text})
    golden = {"made_with": {"jinja2": jinja2.__version__, "python": platform.python_version()}, "context": CONTEXT, "cases": entries}
    path = pathlib.Path(__file__).with_name("jinja.json")
    lines = json.dumps(golden | {"cases": []}, ensure_ascii=False)[:-2]
    body = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    path.write_text(lines + "\n" + body + "\n]}\n")
    print(len(entries), "cases,", sum("text" not in entry for entry in entries), "of them refused")


if __name__ == "__main__":
    main()
