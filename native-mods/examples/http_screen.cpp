// http_screen: scores an HTTP request against a file of signatures.
//
//   c++ -std=c++17 -Wall -Wextra -Werror -O2 -fPIC -shared -fvisibility=hidden -I ../include
//       http_screen.cpp -o build/http_screen.so
//
// The request is brought into one form first (see `screen`), so that a signature need not know the
// ways in which its text can be written. No place of the request is tried twice for one part of a
// signature, so that nobody can send a request that takes forever.

#include "fazai_mod.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>

#ifndef HTTP_SCREEN_SIGNATURES
#define HTTP_SCREEN_SIGNATURES "/opt/fazai/mods/http_screen.signatures"
#endif

namespace {

constexpr std::size_t REQUEST_BYTES_MAX = 256 * 1024;
constexpr std::size_t SIGNATURES_MAX = 4096;
constexpr std::size_t LINE_BYTES_MAX = 512;
constexpr int SCORE_MAX = 100;
constexpr int ATTACK = 5; // from this score on; below it, and above 0, is suspicious
constexpr std::size_t GAP_BYTES_MAX = 48; // what a `*` stands for, at most

// What is wrong with a call; its text is the answer.
struct Refusal : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Signature {
    std::string kind;
    int score;
    std::string pattern;
    std::vector<std::string> parts; // the pattern between its `*`
};

std::vector<Signature> signatures;
std::string source;  // the file that they are from
std::string trouble; // why there are none

Signature parse(const std::string &line) {
    auto kind_end = line.find(' ');
    auto score_end = kind_end == std::string::npos ? kind_end : line.find(' ', kind_end + 1);
    if (score_end == std::string::npos || kind_end == 0)
        throw Refusal("a line is KIND SCORE PATTERN");
    Signature made{line.substr(0, kind_end), 0, line.substr(score_end + 1), {}};
    const std::string score = line.substr(kind_end + 1, score_end - kind_end - 1);
    if (score.empty() || score.size() > 3 ||
        score.find_first_not_of("0123456789") != std::string::npos ||
        (made.score = std::stoi(score)) < 1 || made.score > SCORE_MAX)
        throw Refusal("a score is 1 to " + std::to_string(SCORE_MAX) + ", not '" + score + "'");
    if (made.kind.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") != std::string::npos)
        throw Refusal("a kind is of a-z and _, not '" + made.kind + "'");
    if (std::any_of(made.pattern.begin(), made.pattern.end(),
                    [](char c) { return c >= 'A' && c <= 'Z'; }))
        throw Refusal("a pattern is in lower case, since requests are compared so");
    for (std::size_t from = 0; from <= made.pattern.size();) {
        const auto star = std::min(made.pattern.find('*', from), made.pattern.size());
        if (star == from)
            throw Refusal("a pattern has text on both sides of a *");
        made.parts.push_back(made.pattern.substr(from, star - from));
        from = star + 1;
    }
    return made;
}

// Changes nothing if anything is wrong with the file.
void load(const std::string &path) {
    std::ifstream file(path);
    if (!file)
        throw Refusal("cannot open '" + path + "': does it exist, and may the module read it?");
    std::vector<Signature> loaded;
    std::string line;
    for (int number = 1; std::getline(file, line); number++) {
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        if (line.empty() || line[0] == '#')
            continue;
        try {
            if (line.size() > LINE_BYTES_MAX)
                throw Refusal("a line has at most " + std::to_string(LINE_BYTES_MAX) + " bytes");
            if (loaded.size() == SIGNATURES_MAX)
                throw Refusal("a file has at most " + std::to_string(SIGNATURES_MAX) +
                              " signatures");
            loaded.push_back(parse(line));
        } catch (const Refusal &refusal) {
            throw Refusal(path + ", line " + std::to_string(number) + ": " + refusal.what());
        }
    }
    if (loaded.empty())
        throw Refusal("there are no signatures in '" + path + "'");
    signatures = std::move(loaded);
    source = path;
}

// The file beside the library, or else the constant path: a worker that loads a copy from memory,
// so that nobody can change it meanwhile, leaves the library without a place of its own.
std::string usual() {
    Dl_info self{};
    if (dladdr(reinterpret_cast<const void *>(&fazai_mod_init), &self) && self.dli_fname) {
        const std::string library = self.dli_fname;
        const auto path = library.substr(0, library.rfind('/') + 1) + "http_screen.signatures";
        if (std::ifstream(path))
            return path;
    }
    return HTTP_SCREEN_SIGNATURES;
}

int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string unescaped(std::string_view text) {
    std::string plain;
    plain.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); at++) {
        if (text[at] == '%' && at + 2 < text.size() && hex(text[at + 1]) >= 0 &&
            hex(text[at + 2]) >= 0) {
            plain += static_cast<char>(hex(text[at + 1]) * 16 + hex(text[at + 2]));
            at += 2;
        } else {
            plain += text[at] == '+' ? ' ' : text[at];
        }
    }
    return plain;
}

// Without SQL comments, which split words that a database joins again.
std::string uncommented(std::string_view text) {
    std::string plain;
    plain.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const auto open = std::min(text.find("/*", at), text.size());
        const auto close = text.find("*/", std::min(open + 2, text.size()));
        if (close == std::string_view::npos)
            return plain.append(text.substr(at));
        plain.append(text.substr(at, open - at)) += ' ';
        at = close + 2;
    }
    return plain;
}

// In lower case, and runs of space and control characters as one space.
std::string normal(std::string_view request) {
    std::string text;
    text.reserve(request.size());
    for (const char c : request) {
        if (static_cast<unsigned char>(c) > ' ' && c != 0x7f)
            text += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        else if (text.empty() || text.back() != ' ')
            text += ' ';
    }
    return text;
}

// Whether the parts occur in their order, with at most GAP_BYTES_MAX between one and the next.
// `ends` has every place, ascending, where the parts so far can end: nothing is tried twice.
bool matches(const Signature &signature, std::string_view text) {
    std::vector<std::size_t> ends;
    for (std::size_t part = 0; part < signature.parts.size(); part++) {
        const std::string &wanted = signature.parts[part];
        std::vector<std::size_t> next;
        std::size_t before = 0; // how many of `ends` are at or before `at`
        for (auto at = text.find(wanted); at != std::string_view::npos;
             at = text.find(wanted, at + 1)) {
            while (before < ends.size() && ends[before] <= at)
                before++;
            const bool follows = before > 0 && at - ends[before - 1] <= GAP_BYTES_MAX;
            if (part == 0 || follows)
                next.push_back(at + wanted.size());
        }
        if (next.empty())
            return false;
        ends = std::move(next);
    }
    return true;
}

// Bytes beyond ASCII stay: a signature is UTF-8 as far as its file is.
std::string quoted(std::string_view text) {
    std::string json = "\"";
    for (const char c : text) {
        char escaped[8];
        if (c == '"' || c == '\\') {
            json += '\\';
            json += c;
        } else if (static_cast<unsigned char>(c) < ' ') {
            std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(c));
            json += escaped;
        } else {
            json += c;
        }
    }
    return json + '"';
}

// The score is the sum over the kinds of each one's strongest signature: ten spellings of one
// attack are one attack.
std::string screen(std::string_view request) {
    if (signatures.empty())
        throw Refusal("no signatures are loaded: " + trouble + "; say load PATH");
    if (request.empty())
        throw Refusal("there is no request: say screen GET /index.html HTTP/1.1");
    if (request.size() > REQUEST_BYTES_MAX)
        throw Refusal("the request has " + std::to_string(request.size()) + " bytes and " +
                      std::to_string(REQUEST_BYTES_MAX) + " are allowed: send its beginning");
    // Attackers escape the escapes, hence twice. A comment may hide an attack or split one, so it is
    // looked for with the comments and without.
    const std::string plain = unescaped(unescaped(request));
    const std::string text = normal(plain), bare = normal(uncommented(plain));
    std::map<std::string, int> kinds;
    std::string list;
    for (const Signature &signature : signatures) {
        if (!matches(signature, text) && !matches(signature, bare))
            continue;
        int &strongest = kinds[signature.kind];
        strongest = std::max(strongest, signature.score);
        list += std::string(list.empty() ? "" : ",") + "{\"kind\":" + quoted(signature.kind) +
                ",\"score\":" + std::to_string(signature.score) +
                ",\"signature\":" + quoted(signature.pattern) + "}";
    }
    int score = 0;
    for (const auto &[kind, strongest] : kinds)
        score += strongest;
    const char *verdict = score >= ATTACK ? "attack" : score > 0 ? "suspicious" : "clean";
    return "{\"verdict\":\"" + std::string(verdict) + "\",\"score\":" + std::to_string(score) +
           ",\"matches\":[" + list + "]}";
}

std::string status() {
    return std::to_string(signatures.size()) + " signatures" +
           (source.empty() ? ": " + trouble : " from " + source);
}

std::string answer(std::string_view cmd) {
    const auto space = std::min(cmd.find_first_of(" \r\n"), cmd.size());
    const auto name = cmd.substr(0, space);
    const auto rest = cmd.substr(std::min(space + 1, cmd.size()));
    if (name == "screen")
        return screen(rest);
    if (name == "load") {
        load(std::string(rest));
        return status();
    }
    if (name == "check_signatures" || name == "status")
        return status();
    if (name == "help")
        return "commands: screen REQUEST, load PATH, check_signatures, status, help";
    throw Refusal("no command '" + std::string(name.substr(0, 64)) + "': say help");
}

// The border: whatever is thrown within becomes an error of this call.
template <typename Work> int guarded(char *result, int result_len, Work work) noexcept {
    try {
        const std::string text = work();
        std::snprintf(result, static_cast<std::size_t>(result_len), "%s", text.c_str());
        return 0;
    } catch (const std::exception &error) {
        std::snprintf(result, static_cast<std::size_t>(result_len), "%s", error.what());
    } catch (...) {
        std::snprintf(result, static_cast<std::size_t>(result_len), "an unknown exception");
    }
    return 1;
}

} // namespace

const struct fazai_mod_descriptor fazai_mod_descriptor = {
    FAZAI_MOD_MAGIC,
    FAZAI_MOD_ABI,
    sizeof(struct fazai_mod_descriptor),
    0,
    FAZAI_MOD_FILES,
    FAZAI_MOD_GROW,
    "http_screen",
    "1.0.0",
    "Scores HTTP requests against signatures of attacks.",
    R"([{"name": "screen", "description": "screen REQUEST: score, verdict and what matched."},
        {"name": "load", "description": "load PATH: another file of signatures."},
        {"name": "check_signatures", "description": "How many signatures there are, from where."},
        {"name": "status", "description": "The same."},
        {"name": "help", "description": "What there is."}])",
};

// Without its file the module still loads, since `load PATH` can help; `health` says so.
int fazai_mod_init(void) {
    char reason[512];
    if (guarded(reason, sizeof reason, [] {
            load(usual());
            return std::string();
        }) != 0)
        trouble = reason;
    return 0;
}

int fazai_mod_exec(const char *cmd, char *result, int result_len) {
    return guarded(result, result_len, [&] { return answer(cmd); });
}

int fazai_mod_health(char *result, int result_len) {
    return guarded(result, result_len, [] {
        if (signatures.empty())
            throw Refusal("no signatures are loaded: " + trouble + "; say load PATH");
        return std::string();
    });
}

void fazai_mod_cleanup(void) {
    signatures.clear();
}
