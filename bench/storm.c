/* storm: a load generator for banks of modems: one thread, epoll, nothing but the C library.
 *
 *     cc -std=c11 -O2 -Wall -Wextra -Werror -o storm bench/storm.c && ./storm --help
 *
 * Every modem gets ATE0, its PIN where it asks (a refused one ends the run), AT+CMGF=0. When all
 * are on the network the load begins on all at once, one request at a time on each. After the
 * seconds given, what is on its way is waited for, so that the count is exact. Output: two JSON
 * lines, when all are ready and at the end. Exit status: 0 all was taken, 1 something was not or a
 * modem failed, 2 wrong arguments.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { INIT_COUNT = 8, ROW_ROOM = 1024, INPUT_ROOM = 8192, EVENTS = 256, COLUMNS = 16 };
enum { LATENCIES = 1 << 23 };

enum { SECOND = 1000000 }; /* all times are in microseconds */
static const int64_t SETUP_LIMIT = 60L * SECOND, DRAIN_LIMIT = 30L * SECOND;
static const int64_t RETRY = SECOND / 5; /* the card is busy, the network is being searched */
static const int64_t WAKE_RETRY = SECOND; /* a modem that boots answers nothing */

/* To +8613900000001, UCS-2, 30 characters, valid for a day: as most real traffic. */
static const char DEFAULT_PDU[] =
    "0011000D91683109000000F10008A73C3010793A4F8B516C53F8301160A876847B2C003100320033003400"
    "3553F7901A77E55DF25230FF0C8BF767E56536300256DE590D0054004490008BA2";

/* What a modem is asked, or waits for. */
enum step { WAKE, ASK_PIN, GIVE_PIN, REGISTER, MEMORY, PDU_MODE, INIT, READY, PROMPT, TAKEN, ANSWER,
            REST };
static const char *says[] = { /* make_requests() adds what the options say */
    [WAKE] = "ATE0\r", [ASK_PIN] = "AT+CPIN?\r", [REGISTER] = "AT+CREG?\r",
    [MEMORY] = "AT+CPMS?\r", [PDU_MODE] = "AT+CMGF=0\r", [REST] = NULL};

enum load { SMS, COMMAND, IDLE };
static const char *const LOADS[] = {"sms", "command", "idle"};

struct modem {
    int fd;
    enum step step;
    unsigned init_index;
    bool is_told;     /* the information line that this step must have has come */
    bool is_marked;   /* and it said: PIN needed, registered, reference */
    int64_t retry_at; /* 0 = a command is under way */
    int64_t began;
    size_t n_input;
    char name[64], pin[16], input[INPUT_ROOM];
};

static struct {
    enum load load;
    const char *bank, *command, *pdu, *init[INIT_COUNT];
    unsigned n_init;
    double seconds;
    size_t most_modems;
    bool every_port;
} options = {.load = SMS, .command = "AT+CSQ", .pdu = DEFAULT_PDU, .seconds = 10};

static struct {
    size_t n_done, n_in_time, n_refused, n_unsolicited, n_latencies;
    char refusal[128]; /* the first one: who, and what it said */
    uint32_t latencies[LATENCIES]; /* what comes after these is only counted */
} result;

static struct modem *modems;
static size_t n_modems, n_ready, n_busy;
static int epoll_fd;
static int64_t deadline; /* 0 until all modems are ready */

static _Noreturn void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("storm: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static int64_t now(void) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return moment.tv_sec * SECOND + moment.tv_nsec / 1000;
}

static bool starts(const char *line, const char *with) {
    return strncmp(line, with, strlen(with)) == 0;
}

/* ------------------------------------------------------------ speaking */

static void ask(struct modem *modem, enum step step) {
    char own[300];
    const char *text = own;
    if (step == GIVE_PIN)
        snprintf(own, sizeof own, "AT+CPIN=\"%s\"\r", modem->pin);
    else if (step == INIT)
        snprintf(own, sizeof own, "%s\r", options.init[modem->init_index]);
    else
        text = says[step] != NULL ? says[step] : "";
    modem->step = step;
    modem->is_told = modem->is_marked = false;
    modem->retry_at = step == WAKE ? now() + WAKE_RETRY : 0;
    /* One request at a time is on the line, and the kernel has room for many. */
    if (*text != '\0' && write(modem->fd, text, strlen(text)) != (ssize_t)strlen(text))
        die("%s: cannot write: %s", modem->name, strerror(errno));
}

static void next_load(struct modem *modem) {
    modem->began = now();
    bool is_over = modem->began >= deadline;
    n_busy -= is_over;
    ask(modem, is_over ? READY : options.load == SMS ? PROMPT : ANSWER);
}

static void count(struct modem *modem, bool is_ok, const char *line) {
    int64_t moment = now();
    if (!is_ok && result.n_refused++ == 0)
        snprintf(result.refusal, sizeof result.refusal, "%s: %.40s", modem->name, line);
    result.n_done += is_ok;
    result.n_in_time += is_ok && moment <= deadline;
    if (is_ok && result.n_latencies < LATENCIES)
        result.latencies[result.n_latencies++] = (uint32_t)(moment - modem->began);
    next_load(modem);
}

/* ------------------------------------------------------------ listening */

static void next_setting(struct modem *modem) {
    modem->init_index += modem->step == INIT;
    bool is_ready = modem->init_index == options.n_init;
    n_ready += is_ready;
    ask(modem, is_ready ? READY : INIT);
}

static void take_final(struct modem *modem, bool is_ok, const char *line) {
    bool is_marked = modem->is_marked;
    if (!is_ok && (modem->step == GIVE_PIN || modem->step == PDU_MODE || modem->step == INIT))
        die("%s: %s to the PIN, AT+CMGF=0 or a command of --init", modem->name, line);
    switch (modem->step) {
    case WAKE: ask(modem, ASK_PIN); break;
    case ASK_PIN:
        if (!is_ok)
            modem->retry_at = now() + RETRY;
        else if (modem->is_told) /* else it is the OK of an ATE0 that we had given up */
            ask(modem, is_marked ? GIVE_PIN : REGISTER);
        break;
    case GIVE_PIN: ask(modem, REGISTER); break;
    case REGISTER:
    case MEMORY: /* some models are on the network long before they know of SMS */
        if (is_ok && is_marked)
            ask(modem, modem->step == REGISTER ? MEMORY : PDU_MODE);
        else
            modem->retry_at = now() + RETRY;
        break;
    case PDU_MODE:
    case INIT: next_setting(modem); break;
    case PROMPT: count(modem, false, line); break; /* a final result where the prompt should be */
    case TAKEN: count(modem, is_ok && is_marked, line); break;
    case ANSWER: count(modem, is_ok, line); break;
    case READY:
    case REST: break;
    }
}

static void take_information(struct modem *modem, const char *line) {
    const char *stat = strchr(line, ',') ? strchr(line, ',') + 1 : line + strspn(line, "+CREG: ");
    if (starts(line, "+CMT") || starts(line, "+CDS")) {
        result.n_unsolicited++;
    } else if (modem->step == ASK_PIN && starts(line, "+CPIN:")) {
        modem->is_told = true;
        modem->retry_at = now() + RETRY; /* for those that say no OK after it */
        modem->is_marked = strstr(line, "SIM PIN") != NULL; /* with quotes, without blank, … */
    } else if (modem->step == REGISTER && starts(line, "+CREG:")) {
        modem->is_marked |= *stat == '1' || *stat == '5'; /* some leave <n> out */
    } else {
        modem->is_marked |= modem->step == TAKEN && starts(line, "+CMGS:");
        modem->is_marked |= modem->step == MEMORY && starts(line, "+CPMS:");
    }
}

static void take_line(struct modem *modem, const char *line) {
    if (strcmp(line, "OK") == 0)
        take_final(modem, true, line);
    else if (strcmp(line, "ERROR") == 0 || starts(line, "+CMS ERROR") || starts(line, "+CME ERROR"))
        take_final(modem, false, line);
    else
        take_information(modem, line);
}

static void take_input(struct modem *modem) {
    char *line = modem->input, *end;
    while ((end = strpbrk(line, "\r\n")) != NULL) {
        *end = '\0';
        if (*line != '\0')
            take_line(modem, line);
        line = end + 1;
    }
    modem->n_input = strlen(line);
    memmove(modem->input, line, modem->n_input + 1);
    /* The prompt is the only answer without a line's end; its blank may come later or never. */
    if (modem->input[0] == '>' && modem->step == PROMPT) {
        modem->n_input = 0;
        ask(modem, TAKEN);
    }
}

static void receive(struct modem *modem) {
    size_t room = sizeof modem->input - 1 - modem->n_input;
    if (room == 0)
        die("%s: a line without end", modem->name);
    char *place = modem->input + modem->n_input;
    ssize_t got = read(modem->fd, place, room);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        die("%s: the port is gone", modem->name);
    for (ssize_t at = 0; at < got; at++) /* an octet 0 must not end our strings */
        place[at] = place[at] == '\0' ? '?' : place[at];
    modem->n_input += (size_t)got;
    place[got] = '\0';
    if (modem->step == REST)
        modem->input[0] = '\0';
    take_input(modem);
}

/* ------------------------------------------------------------ opening */

static int open_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof address.sun_path)
        die("%s: too long for a socket's address; use a shorter folder", path);
    strcpy(address.sun_path, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        die("%s: %s", path, strerror(errno));
    return fd;
}

static int open_terminal(const char *path) {
    struct termios raw;
    int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &raw) < 0 || (cfmakeraw(&raw), tcsetattr(fd, TCSANOW, &raw)) < 0)
        die("%s: %s", path, strerror(errno));
    return fd;
}

static void add_modem(const char *name, const char *pin, enum step step) {
    if (n_modems % 64 == 0)
        modems = realloc(modems, (n_modems + 64) * sizeof *modems);
    if (modems == NULL)
        die("out of memory");
    struct modem *modem = &modems[n_modems++];
    *modem = (struct modem){.step = step};
    if (strlen(name) >= sizeof modem->name || strlen(pin) >= sizeof modem->pin)
        die("%s: a name or a PIN is too long", name);
    strcpy(modem->name, name);
    strcpy(modem->pin, pin);
}

static int split(char *row, char *cells[COLUMNS]) {
    int n = 0;
    row[strcspn(row, "\r\n")] = '\0';
    for (char *rest = row; n < COLUMNS && rest != NULL;)
        cells[n++] = strsep(&rest, ",");
    return n;
}

static void read_cards(void) {
    char path[PATH_MAX], row[ROW_ROOM], *cells[COLUMNS];
    int modem = -1, pin = -1;
    snprintf(path, sizeof path, "%s/cards.csv", options.bank);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(row, sizeof row, file) == NULL)
        die("%s: cannot read it; is this a bank's folder?", path);
    for (int at = split(row, cells) - 1; at >= 0; at--) {
        modem = strcmp(cells[at], "modem") == 0 ? at : modem;
        pin = strcmp(cells[at], "pin") == 0 ? at : pin;
    }
    if (modem < 0 || pin < 0)
        die("%s: no column modem or pin", path);
    while (fgets(row, sizeof row, file) != NULL) {
        int n = split(row, cells);
        if (n <= modem || n <= pin)
            die("%s: a row is too short", path);
        if (*cells[modem] != '\0' && (options.most_modems == 0 || n_modems < options.most_modems))
            add_modem(cells[modem], cells[pin], WAKE);
    }
    fclose(file);
}

static void add_other_ports(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/ports", options.bank);
    DIR *folder = opendir(path);
    if (folder == NULL)
        die("%s: %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.' && strchr(entry->d_name, '.')) /* modem01.if00-diag */
            add_modem(entry->d_name, "", REST);
    closedir(folder);
}

static void open_port(struct modem *modem) {
    char path[PATH_MAX];
    struct stat found;
    snprintf(path, sizeof path, "%s/ports/%s", options.bank, modem->name);
    if (stat(path, &found) < 0)
        die("%s: %s", path, strerror(errno));
    modem->fd = S_ISSOCK(found.st_mode) ? open_socket(path) : open_terminal(path);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = modem};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, modem->fd, &event) < 0)
        die("epoll: %s", strerror(errno));
}

static size_t open_all(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    read_cards();
    size_t n_driven = n_modems;
    if (n_driven == 0)
        die("no modem in %s/cards.csv", options.bank);
    if (options.every_port)
        add_other_ports();
    for (size_t at = 0; at < n_modems; at++) {
        open_port(&modems[at]);
        if (modems[at].step == WAKE)
            ask(&modems[at], WAKE);
    }
    return n_driven;
}

/* ------------------------------------------------------------ the run */

static void turn(int64_t until) {
    struct epoll_event events[EVENTS];
    int64_t left = (until - now()) / 1000;
    int n = epoll_wait(epoll_fd, events, EVENTS, left < 0 ? 0 : left > 50 ? 50 : (int)left + 1);
    if (n < 0 && errno != EINTR)
        die("epoll: %s", strerror(errno));
    for (int at = 0; at < n; at++)
        receive(events[at].data.ptr);
}

static void set_up(size_t n_driven) {
    int64_t limit = now() + SETUP_LIMIT;
    while (n_ready < n_driven) {
        turn(limit);
        int64_t moment = now();
        for (size_t at = 0; at < n_driven; at++) {
            struct modem *modem = &modems[at];
            if (moment > limit && modem->step != READY)
                die("%s: not ready within %d s (step %d)", modem->name,
                    (int)(SETUP_LIMIT / SECOND), modem->step);
            if (modem->retry_at != 0 && moment >= modem->retry_at)
                modem->is_told ? take_final(modem, true, "") : ask(modem, modem->step);
        }
    }
}

static void run(size_t n_driven) {
    deadline = now() + (int64_t)(options.seconds * SECOND);
    if (options.load != IDLE) {
        n_busy = n_driven;
        for (size_t at = 0; at < n_driven; at++)
            next_load(&modems[at]);
    }
    while (now() < deadline + (n_busy > 0 ? DRAIN_LIMIT : 0))
        turn(deadline + DRAIN_LIMIT);
    /* The last messages' delivery reports are still to come. */
    for (int64_t limit = now() + SECOND; options.load != IDLE && now() < limit;)
        turn(limit);
}

static int by_size(const void *left, const void *right) {
    uint32_t one = *(const uint32_t *)left, other = *(const uint32_t *)right;
    return (one > other) - (one < other);
}

static double quantile_ms(double share) {
    size_t last = result.n_latencies > 0 ? result.n_latencies - 1 : 0;
    return result.latencies[(size_t)(share * (double)last)] / 1000.0;
}

static void report(size_t n_driven) {
    qsort(result.latencies, result.n_latencies, sizeof *result.latencies, by_size);
    printf("{\"modems\": %zu, \"seconds\": %g, \"completed\": %zu, \"refused\": %zu, "
           "\"unanswered\": %zu, \"unsolicited\": %zu, \"per_second\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"first_refusal\": \"%s\"}\n",
           n_driven, options.seconds, result.n_done, result.n_refused, n_busy,
           result.n_unsolicited, (double)result.n_in_time / options.seconds, quantile_ms(0.5),
           quantile_ms(0.99), quantile_ms(1.0), result.refusal);
}

/* ------------------------------------------------------------ arguments */

static const char USAGE[] =
    "usage: storm [options] BANK\n"
    "  --load sms|command|idle   what to do (default sms)\n"
    "  --seconds S               for how long (default 10)\n"
    "  --modems N                the first N (default all)\n"
    "  --pdu HEX                 service centre and TPDU to send (default one UCS-2 segment)\n"
    "  --command TEXT            what --load command asks (default AT+CSQ)\n"
    "  --init TEXT               a command before the load; up to 8 times\n"
    "  --every-port              open the modems' other ports too and throw away what they say\n"
    "BANK is a folder: cards.csv (columns modem and pin) names the modems, ports/<modem> is a\n"
    "terminal or a Unix socket. Example: storm --seconds 20 --modems 64 /tmp/bank\n";

static _Noreturn void misused(void) {
    fputs(USAGE, stderr);
    exit(2);
}

static void read_arguments(int count, char **values) {
    static const struct option known[] = {
        {"load", required_argument, NULL, 'l'},    {"seconds", required_argument, NULL, 's'},
        {"modems", required_argument, NULL, 'm'},  {"pdu", required_argument, NULL, 'p'},
        {"command", required_argument, NULL, 'c'}, {"init", required_argument, NULL, 'i'},
        {"every-port", no_argument, NULL, 'e'},    {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(count, values, "", known, NULL)) != -1;) {
        switch (option) {
        case 'l':
            options.load = *optarg == 's' ? SMS : *optarg == 'c' ? COMMAND : IDLE;
            if (strcmp(optarg, LOADS[options.load]) != 0)
                misused();
            break;
        case 's': options.seconds = atof(optarg); break;
        case 'm': options.most_modems = (size_t)atol(optarg); break;
        case 'p': options.pdu = optarg; break;
        case 'c': options.command = optarg; break;
        case 'i':
            if (options.n_init == INIT_COUNT || strlen(optarg) > 255)
                misused();
            options.init[options.n_init++] = optarg;
            break;
        case 'e': options.every_port = true; break;
        case 'h': fputs(USAGE, stdout); exit(0);
        default: misused();
        }
    }
    if (optind != count - 1 || options.seconds <= 0)
        misused();
    options.bank = values[optind];
}

static void make_requests(void) {
    static char announce[32];
    char *payload = NULL, *request = NULL;
    size_t n_hex = strlen(options.pdu);
    unsigned centre = 0;
    /* The length that AT+CMGS tells leaves the service centre's address out. TS 27.005 §4.3 */
    if (n_hex % 2 || strspn(options.pdu, "0123456789ABCDEFabcdef") != n_hex ||
        sscanf(options.pdu, "%2x", &centre) != 1 || n_hex / 2 <= centre + 1)
        misused();
    snprintf(announce, sizeof announce, "AT+CMGS=%zu\r", n_hex / 2 - 1 - centre);
    if (asprintf(&payload, "%s\x1a", options.pdu) < 0 ||
        asprintf(&request, "%s\r", options.command) < 0)
        die("out of memory");
    says[PROMPT] = announce;
    says[TAKEN] = payload;
    says[ANSWER] = request;
}

int main(int count, char **values) {
    read_arguments(count, values);
    make_requests();
    int64_t began = now();
    size_t n_driven = open_all();
    set_up(n_driven);
    printf("{\"ready\": %zu, \"ports\": %zu, \"setup_seconds\": %.3f}\n", n_driven, n_modems,
           (double)(now() - began) / SECOND);
    fflush(stdout);
    run(n_driven);
    report(n_driven);
    return n_busy > 0 || result.n_refused > 0;
}
