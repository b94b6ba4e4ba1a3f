/* rbl: is an address on a DNS block list? The address is turned round and looked up as a name
 * (RFC 5782): for 192.0.2.99 in zen.spamhaus.org that is 99.2.0.192.zen.spamhaus.org. No such
 * name means "not listed", an answer of 127.0.0.x "listed, and for this reason".
 *
 *   cc -std=c11 -Wall -Wextra -Werror -O2 -fPIC -shared -fvisibility=hidden -I ../include \
 *      rbl.c -o build/rbl.so
 */
#define _POSIX_C_SOURCE 200809L

#include "fazai_mod.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* A DNS name has at most 253 characters, and 64 of them are an IPv6 address turned round. */
enum { ZONE_MAX = 180, NAME_SIZE = 256 };

const struct fazai_mod_descriptor fazai_mod_descriptor = {
    .magic = FAZAI_MOD_MAGIC,
    .abi = FAZAI_MOD_ABI,
    .struct_size = sizeof(struct fazai_mod_descriptor),
    .capabilities = FAZAI_MOD_NETWORK,
    .name = "rbl",
    .version = "1.0.0",
    .description = "Looks addresses up in a DNS block list.",
    .commands =
        "[{\"name\": \"check_rbl\", \"description\": \"check_rbl IP: is it listed, and why?\"},"
        "{\"name\": \"query_name\", \"description\": \"query_name IP: the name to look up.\"},"
        "{\"name\": \"explain\", \"description\": \"explain 127.0.0.4: what an answer means.\"},"
        "{\"name\": \"zone\", \"description\": \"zone NAME: another list; alone, says which.\"},"
        "{\"name\": \"help\", \"description\": \"What there is.\"},"
        "{\"name\": \"status\", \"description\": \"The zone and the number of look-ups.\"}]",
};

static char zone[ZONE_MAX + 1] = "zen.spamhaus.org";
static int zone_seen; /* it gave an answer once */
static unsigned long lookups;

struct answer {
    char *at;
    size_t room;
};

/* Appends, and stops at the end of the buffer. */
#define ADD(answer, ...) add(answer, snprintf((answer)->at, (answer)->room, __VA_ARGS__))
static void add(struct answer *answer, int written) {
    size_t more = written < 0 ? 0 : (size_t)written;
    if (more >= answer->room)
        more = answer->room - 1;
    answer->at += more;
    answer->room -= more;
}

/* The query name ends with a dot, so that no search domain is put behind it. */
static int query_name(const char *ip, char name[NAME_SIZE]) {
    unsigned char bytes[16];
    if (inet_pton(AF_INET, ip, bytes) == 1) {
        snprintf(name, NAME_SIZE, "%d.%d.%d.%d.%s.", bytes[3], bytes[2], bytes[1], bytes[0], zone);
        return 0;
    }
    if (inet_pton(AF_INET6, ip, bytes) != 1)
        return -1;
    char *at = name;
    for (int byte = 15; byte >= 0; byte--)
        at += sprintf(at, "%x.%x.", bytes[byte] & 15, bytes[byte] >> 4);
    snprintf(at, NAME_SIZE - 64, "%s.", zone);
    return 0;
}

static int is_spamhaus(void) {
    static const char suffix[] = ".spamhaus.org";
    size_t length = strlen(zone), end = sizeof suffix - 1;
    return length > end && strcasecmp(zone + length - end, suffix) == 0;
}

/* What an answer means. The last byte's meaning is the zone's own; 127.255.255.x is an error by
 * the custom of the large lists, and anything outside of 127.0.0.0/8 comes from no list. */
enum verdict { LISTED, REFUSED, NO_LIST };

static enum verdict meaning(const unsigned char ip[4], const char **text) {
    if (ip[0] != 127) {
        *text = "no answer of a block list: the resolver makes up addresses for names that do not "
                "exist, use another one";
        return NO_LIST;
    }
    if (ip[1] == 255 && ip[2] == 255) {
        switch (ip[3]) {
        case 252:
            *text = "the list refused: the zone's name is mistyped, set it with zone NAME";
            break;
        case 254:
            *text = "the list refused: it takes no queries by public resolvers, use your own";
            break;
        case 255:
            *text = "the list refused: too many queries, wait or subscribe";
            break;
        default:
            *text = "the list refused: its documentation says why";
        }
        return REFUSED;
    }
    *text = "listed: the zone's documentation says what this code means";
    if (!is_spamhaus() || ip[1] != 0 || ip[2] != 0)
        return LISTED;
    switch (ip[3]) {
    case 2:
        *text = "SBL: a known source of spam";
        break;
    case 3:
        *text = "CSS: a source of spam, found automatically";
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        *text = "XBL: a machine that was taken over, or an open proxy";
        break;
    case 9:
        *text = "DROP: a network run by criminals, drop its traffic";
        break;
    case 10:
    case 11:
        *text = "PBL: an end user's address, which should send no mail directly";
        break;
    }
    return LISTED;
}

/* What getaddrinfo returns, but 0 with nothing found where the name does not exist. */
static int look_up(const char *name, struct addrinfo **found) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    *found = NULL;
    lookups++;
    int error = getaddrinfo(name, NULL, &hints, found);
#ifdef EAI_NODATA /* of older systems: the name exists, but has no address */
    if (error == EAI_NODATA)
        return 0;
#endif
    return error == EAI_NONAME ? 0 : error;
}

/* Every list has 127.0.0.2 in it, or the same as IPv6, so that one can see whether it is there at
 * all: a resolver that blocks the zone says "no such name" of every address. */
static int zone_answers(void) {
    static const char *const tests[] = {"127.0.0.2", "::ffff:127.0.0.2"};
    for (int at = 0; at < 2 && !zone_seen; at++) {
        char name[NAME_SIZE];
        struct addrinfo *found;
        if (query_name(tests[at], name) == 0 && look_up(name, &found) == 0 && found) {
            zone_seen = 1;
            freeaddrinfo(found);
        }
    }
    return zone_seen;
}

static int check_rbl(const char *ip, struct answer *answer) {
    char name[NAME_SIZE];
    if (query_name(ip, name) != 0) {
        ADD(answer, "'%.64s' is no IPv4 or IPv6 address: say check_rbl 192.0.2.1", ip);
        return 1;
    }
    struct addrinfo *found;
    int error = look_up(name, &found);
    if (error != 0) {
        ADD(answer,
            "looking up %s failed: %s; is there a name server, and has the module the network "
            "capability?",
            name, gai_strerror(error));
        return 1;
    }
    if (!found && !zone_answers()) {
        ADD(answer,
            "%s does not list its test address 127.0.0.2, so nothing is known of %s: is the zone "
            "right, and does the resolver let it through?",
            zone, ip);
        return 1;
    }
    if (!found) {
        ADD(answer, "%s is not listed in %s", ip, zone);
        return 0;
    }
    int code = 0;
    for (struct addrinfo *one = found; one; one = one->ai_next) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)one->ai_addr;
        unsigned char bytes[4];
        const char *text;
        memcpy(bytes, &address->sin_addr, sizeof bytes);
        enum verdict verdict = meaning(bytes, &text);
        if (verdict != LISTED)
            code = 1;
        ADD(answer, "%s%s %s %s: %d.%d.%d.%d, %s", one == found ? "" : "\n", ip,
            verdict == LISTED ? "is listed in" : "could not be checked in", zone, bytes[0],
            bytes[1], bytes[2], bytes[3], text);
    }
    freeaddrinfo(found);
    return code;
}

static int explain(const char *ip, struct answer *answer) {
    unsigned char bytes[4];
    const char *text;
    if (inet_pton(AF_INET, ip, bytes) != 1) {
        ADD(answer, "'%.64s' is no answer of a list: say explain 127.0.0.2", ip);
        return 1;
    }
    meaning(bytes, &text);
    ADD(answer, "%s in %s: %s", ip, zone, text);
    return 0;
}

static int is_zone(const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t length = strlen(name);
    if (length < 1 || length > ZONE_MAX || strspn(name, allowed) != length)
        return 0;
    size_t label = 0;
    for (const char *at = name; *at; at++) {
        label = *at == '.' ? 0 : label + 1;
        if (label > 63 || (*at == '.' && (at == name || at[1] == '.' || at[1] == '\0')))
            return 0;
    }
    return 1;
}

static int set_zone(const char *name, struct answer *answer) {
    if (*name && !is_zone(name)) {
        ADD(answer,
            "'%.64s' is no zone: a name such as zen.spamhaus.org, at most %d characters, without "
            "a dot at its end",
            name, ZONE_MAX);
        return 1;
    }
    if (*name) {
        memcpy(zone, name, strlen(name) + 1);
        zone_seen = 0;
    }
    ADD(answer, "the zone is %s", zone);
    return 0;
}

int fazai_mod_init(void) {
    return 0;
}

/* What follows the command's name, or null if this is not the command. */
static const char *after(const char *cmd, const char *name) {
    size_t length = strlen(name);
    if (strncmp(cmd, name, length) != 0 || (cmd[length] != '\0' && cmd[length] != ' '))
        return NULL;
    return cmd + length + strspn(cmd + length, " ");
}

int fazai_mod_exec(const char *cmd, char *result, int result_len) {
    struct answer answer = {result, (size_t)result_len};
    const char *arg;
    if ((arg = after(cmd, "check_rbl")))
        return check_rbl(arg, &answer);
    if ((arg = after(cmd, "explain")))
        return explain(arg, &answer);
    if ((arg = after(cmd, "zone")))
        return set_zone(arg, &answer);
    if ((arg = after(cmd, "query_name"))) {
        char name[NAME_SIZE];
        if (query_name(arg, name) != 0) {
            ADD(&answer, "'%.64s' is no IPv4 or IPv6 address: say query_name 192.0.2.1", arg);
            return 1;
        }
        ADD(&answer, "%s", name);
        return 0;
    }
    if (after(cmd, "help")) {
        ADD(&answer, "commands: check_rbl IP, query_name IP, explain 127.0.0.x, zone [NAME], help, "
                     "status");
        return 0;
    }
    if (after(cmd, "status")) {
        ADD(&answer, "ready, zone %s, %lu look-ups", zone, lookups);
        return 0;
    }
    ADD(&answer, "no command '%.64s': say help", cmd);
    return 1;
}

void fazai_mod_cleanup(void) {
}
