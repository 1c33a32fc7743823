#include "qlora/text/jinja.hpp"

#include <utility>
#include <vector>

#include "qlora/text/jinja/writing.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/golden.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

namespace {

using Json = nlohmann::ordered_json;
using qlora::jinja::Template;
using qlora::jinja::Text;
using qlora::jinja::Value;

// What strftime_now says in the golden file.
std::tm noon() {
  std::tm time{};
  time.tm_year = 124;
  time.tm_mon = 6;
  time.tm_mday = 26;
  time.tm_hour = 12;
  time.tm_wday = 5;
  time.tm_yday = 207;
  return time;
}

std::string rendered_json(const std::string& source, const Json& context = Json::object()) {
  return Template(source).render(context, {.now = noon, .limits = {}});
}
std::string template_refusal(const std::string& source, const Json& context = Json::object(),
                             const qlora::jinja::Limits& limits = {}) {
  return test::message_of<qlora::FormatError>(
      [&] { (void)Template(source).render(context, {.now = noon, .limits = limits}); });
}

// The parts of `source`'s output that came from the variable v, with the others' in brackets.
std::string traced(const std::string& source, const std::string& v) {
  const Text text = Template(source).render({{"v", Value(Text::from(v, 1))}});
  std::string all;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    for (const auto& span : text.spans) {
      if (span.end == i && span.end > span.begin) all += '>';
      if (span.begin == i) all += span.begin == span.end ? "<>" : "<";
    }
    if (i < text.size()) all += text.bytes[i];
  }
  return all;
}

}  // namespace

TEST_CASE("templates give what Python's jinja2 gives, and are refused where it raises") {
  const Json golden =
      Json::parse(qlora::read_text_file(std::string(QLORA_TEST_FOLDER) + "/golden/jinja.json"));
  REQUIRE(golden["cases"].size() > 500);
  for (const Json& one : golden["cases"]) {
    const auto source = one["source"].get<std::string>();
    INFO(source);
    if (one.contains("text")) {
      REQUIRE(rendered_json(source, golden["context"]) == one["text"].get<std::string>());
    } else {
      REQUIRE(!template_refusal(source, golden["context"]).empty());
    }
  }
}

TEST_CASE("what is not supported is refused by name with its line, when it is evaluated") {
  const std::vector<std::pair<std::string, std::string>> unknown = {
      {"{{ 1 | shuffle }}", "the filter 'shuffle' is not known"},
      {"{{ 1 | escape }}", "the filter 'escape' is not known"},
      {"{{ [1] | map('nope') | list }}", "the filter 'nope' is not known"},
      {"{{ 1 is prime }}", "the test 'prime' is not known"},
      {"{{ [1] | select('prime') | list }}", "the test 'prime' is not known"},
      {"{{ 'a'.encode() }}", "the method 'encode' of a text is not supported"},
      {"{{ 'a'.swapcase() }}", "the method 'swapcase' of a text is not supported"},
      {"{{ {}.fromkeys([1]) }}", "the method 'fromkeys' of a dict is not supported"},
      {"{{ joiner() }}", "'joiner' is not supported"},
      {"{{ range(3) }}", "writing a range as text is not supported"},
      {"{{ '\xc3\xa9' | upper }}", "'upper' of the letter '\xc3\xa9' is not supported"},
      {"{{ '{:>3}'.format(1) }}", "the field '{:>3}' is not supported"},
      {"{{ strftime_now('%f') }}", "strftime_now: the format '%f' is not supported"},
      {"{{ 9223372036854775807 + 1 }}", "a whole number beyond 64 bits is not supported"},
      {"{{ [3, 1] | sort(attribute='a,b') }}", "several attributes is not supported"},
      {"{{ (5).real }}", "the attribute 'real' of a number is not supported"},
      {"{% for i in [1] recursive %}{% endfor %}", "'for ... recursive' is not supported"},
      {"{% for i in [1] %}{{ loop.changed(i) }}{% endfor %}", "loop.changed is not supported"},
      {"{% include 'a' %}", "the statement 'include' is not supported"},
      {"{% import 'a' as b %}", "the statement 'import' is not supported"},
      {"{% from 'a' import b %}", "the statement 'from' is not supported"},
      {"{% extends 'a' %}", "the statement 'extends' is not supported"},
      {"{% block a %}x{% endblock a %}", "the statement 'block' is not supported"},
      {"{% autoescape true %}x{% endautoescape %}", "the statement 'autoescape' is not supported"}};
  for (const auto& [source, what] : unknown) {
    INFO(source);
    const std::string said = template_refusal("\n\n" + source);
    REQUIRE(test::contains(said, "template, line 3: "));
    REQUIRE(test::contains(said, what));
    REQUIRE(rendered_json("{% if false %}" + source + "{% endif %}ok") == "ok");
  }
}

TEST_CASE("a template that can't be parsed is refused with its line") {
  const auto parse = [](const std::string& source) {
    return test::message_of<qlora::FormatError>([&] { Template broken(source, "file.jinja"); });
  };
  REQUIRE(test::contains(parse("a\n{{ 1 + }}"), "file.jinja, line 2: expected an expression"));
  REQUIRE(test::contains(parse("{% if a %}\n\n"), "expected 'endif', found the end of template"));
  REQUIRE(test::contains(parse("{% do x %}"), "the statement 'do' is not known"));
  REQUIRE(test::contains(parse("{{ 'a }}"), "missing end of text"));
  REQUIRE(test::contains(parse("{{ [1, (2] }}"), "unexpected ']'"));
  REQUIRE(test::contains(parse("{{ 99999999999999999999 }}"), "too large"));
  REQUIRE(test::contains(parse("{{ a $ b }}"), "unexpected character '$'"));
  REQUIRE(test::contains(parse("{% break %}"), "'break' outside of a loop"));
}

TEST_CASE("an error names the line of the innermost expression") {
  REQUIRE(test::contains(template_refusal("{{ 1 }}\n{% if true %}\n  {{ none.a.b }}\n{% endif %}"),
                         "line 3: a None has no 'a'"));
  REQUIRE(
      test::contains(template_refusal("{% macro f() %}\n{{ 1 / 0 }}{% endmacro %}\n\n{{ f() }}"),
                     "line 2: division by zero"));
  REQUIRE(test::contains(template_refusal("\n{{ raise_exception('no ' ~ 'tools') }}"),
                         "line 2: the template refuses: no tools"));
}

TEST_CASE("a hostile template ends by a limit that is named") {
  const std::string loop = "{% for i in range(100000) %}";
  REQUIRE(test::contains(
      template_refusal(loop + loop + "{% endfor %}{% endfor %}", {}, {.steps = 300'000}),
      "300000 steps"));
  REQUIRE(test::contains(template_refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
                         "calls itself deeper"));
  REQUIRE(test::contains(template_refusal("{{ 'a' * 1000000000 }}"), "bytes"));
  REQUIRE(test::contains(template_refusal("{{ [1] * 1000000000 }}"), "items"));
  REQUIRE(test::contains(template_refusal("{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}" + loop +
                                          "{% set ns.x = ns.x + ns.x %}{% endfor %}"),
                         "bytes"));
  REQUIRE(test::contains(template_refusal("{% set ns = namespace(x=[]) %}" + loop +
                                          "{% set ns.x = [ns.x] %}{% endfor %}"),
                         "nest deeper"));
  const std::string deep = "{{ " + std::string(3000, '(') + "1" + std::string(3000, ')') + " }}";
  REQUIRE(test::contains(template_refusal(deep), "nests deeper"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 3000; ++i) sum += " + 1";
  REQUIRE(test::contains(template_refusal(sum + " }}"), "nest deeper"));
  std::string blocks;
  for (int i = 0; i < 3000; ++i) blocks += "{% if 1 %}";
  REQUIRE(test::contains(template_refusal(blocks), "nests deeper"));
  std::string data = "1";
  for (int i = 0; i < 500; ++i) data = "[" + data + "]";
  REQUIRE(test::contains(template_refusal("x", Json{{"v", Json::parse(data)}}), "nest deeper"));
  REQUIRE(test::contains(template_refusal("{{ 'abc' | indent }}", {}, {.steps = 2}), "2 steps"));
}

TEST_CASE("namespaces that hold each other are let go") {
  REQUIRE(rendered_json("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}"
                        "{{ a.b.a.b is defined }}") == "True");
}

TEST_CASE("output remembers what came from where through filters, slices and macros") {
  REQUIRE(traced("a {{ v }} b", "xyz") == "a <xyz> b");
  REQUIRE(traced("{{ v | trim }}", " x ") == "<x>");
  REQUIRE(traced("{{ 'a' + v ~ 'b' }}", "x") == "a<x>b");
  REQUIRE(traced("{{ v[1:3] }}", "abcd") == "<bc>");
  REQUIRE(traced("{{ v[::-1] }}", "abc") == "<cba>");
  REQUIRE(traced("{{ v.split(',') | join('; ') }}", "a,b") == "<a>; <b>");
  REQUIRE(traced("{{ v | replace('b', 'X') }}", "abc") == "<a>X<c>");
  REQUIRE(traced("{{ v | indent(2) }}", "a\nb") == "<a>\n  <b>");
  REQUIRE(traced("{{ v | upper }}", "ab") == "<AB>");
  REQUIRE(traced("{{ '(%s)' % v }}{{ '[{}]'.format(v) }}", "ab") == "(<ab>)[<ab>]");
  REQUIRE(traced("{{ {'k': v} | tojson }}", "a\nb") == "{\"k\": \"<a\\nb>\"}");
  REQUIRE(traced("{{ [v] }}", "a'b") == "[\"<a'b>\"]");
  REQUIRE(traced("{% macro f(x) %}({{ x }}){% endmacro %}{{ f(v) }}", "ab") == "(<ab>)");
  REQUIRE(traced("{% set w %}-{{ v }}{% endset %}{{ w }}", "ab") == "-<ab>");
  REQUIRE(traced("{% for c in v %}{{ c }}.{% endfor %}", "ab") == "<a>.<b>.");
  REQUIRE(traced("{{ v | length }}{{ v == 'ab' }}", "ab") == "2True");
}

TEST_CASE("an empty text leaves its place in the output") {
  REQUIRE(traced("a{{ v }}b", "") == "a<>b");
  REQUIRE(traced("a{{ v | trim }}b", "  ") == "a<>b");
  REQUIRE(traced("a{{ v.split('x')[-1] }}b", "yx") == "a<>b");
}

TEST_CASE("floats are written as Python writes them") {
  test::law("repr reads back as the number", [](double value) {
    RC_PRE(std::isfinite(value));
    const std::string text = qlora::jinja::float_repr(value);
    RC_ASSERT(std::strtod(text.c_str(), nullptr) == value);
    RC_ASSERT(text.find_first_of(".e") != std::string::npos);
  });
}

TEST_CASE("slices of a text in characters are those of its list of characters") {
  test::law("slice", [](std::vector<std::uint8_t> picks, std::int8_t begin, std::int8_t end) {
    static const std::vector<std::string> characters = {"a", "\xc3\xa9", "\xe4\xb8\x96",
                                                        "\xf0\x9f\x98\x80"};
    std::string text;
    Json list = Json::array();
    for (const auto pick : picks) {
      list.push_back(characters[pick % 4]);
      text += characters[pick % 4];
    }
    const Json context = {{"t", text}, {"l", list}, {"b", begin}, {"e", end}};
    RC_ASSERT(rendered_json("{{ t[b:e] == l[b:e] | join }}", context) == "True");
    RC_ASSERT(rendered_json("{{ t[b:e:-2] == l[b:e:-2] | join }}", context) == "True");
    RC_ASSERT(rendered_json("{{ (t[b] | default('')) == (l[b] | default('')) }}", context) ==
              "True");
  });
}

TEST_CASE("JSON is read back as it was written") {
  test::law("tojson", [](std::string text, double number, std::int64_t whole) {
    RC_PRE(std::isfinite(number));
    const Json value = {{"t", qlora::repair_utf8(text)}, {"n", {number, whole, nullptr, true}}};
    RC_ASSERT(Json::parse(rendered_json("{{ v | tojson }}", Json{{"v", value}})) == value);
    RC_ASSERT(Json::parse(rendered_json("{{ v | tojson(indent=2, ensure_ascii=true) }}",
                                        Json{{"v", value}})) == value);
  });
}

TEST_CASE("what a generation block wrote is marked, with what is inside") {
  const Template marked("a{% generation %}b{{ v }}{% endgeneration %}c");
  REQUIRE(marked.has_generation());
  const Text text = marked.render({{"v", Value(Text::from("x", 1))}});
  REQUIRE(text.bytes == "abxc");
  REQUIRE(text.spans.size() == 2);
  REQUIRE(text.spans[1].origin == qlora::jinja::generation_origin);
  REQUIRE(text.spans[1].begin == 1);
  REQUIRE(text.spans[1].end == 3);
  REQUIRE(!Template("a").has_generation());
}
