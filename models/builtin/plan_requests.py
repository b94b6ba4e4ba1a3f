"""Requests for the planner: wordings/plan-*.txt with random values, and the plan that answers them."""

import json
from pathlib import Path

from phrases import Phrases, load_sections, part, unaccented
from plans import load_intents
from values import UNITS, Values

HERE = Path(__file__).parent
PACKAGES = """nginx apache2 mysql-server mariadb-server postgresql redis-server docker.io docker-ce htop vim git curl wget tmux
fail2ban ufw certbot python3-certbot-nginx php-fpm php8.2-fpm nodejs npm default-jdk openjdk-17-jre golang gcc make cmake build-essential
rsync net-tools dnsutils tcpdump nmap wireshark samba nfs-kernel-server openvpn wireguard haproxy varnish memcached rabbitmq-server
mongodb elasticsearch grafana prometheus node-exporter zabbix-agent telegraf suricata snort crowdsec clamav rkhunter lynis auditd
postfix dovecot-imapd bind9 dnsmasq unbound squid jq tree unzip zip p7zip-full ncdu iotop iftop nethogs sysstat smartmontools
lm-sensors mdadm lvm2 btrfs-progs xfsprogs zfsutils-linux qemu-kvm libvirt-daemon-system podman buildah ansible terraform screen
zsh fish nano emacs mc lynx links2 ffmpeg imagemagick sqlite3 phpmyadmin wordpress nextcloud gitea jenkins libssl-dev python3-pip
python3-venv ruby-full perl rsyslog logrotate chrony ntp cron at mailutils msmtp borgbackup restic rclone""".split()
REDHAT = """fedora Fedora rhel RHEL centos CentOS rocky Rocky alma Alma almalinux AlmaLinux rocky_linux Rocky_Linux red_hat Red_Hat
centos_stream CentOS_7 fedora_39 Fedora_40 RHEL_9 rhel_8 rocky_9 alma_linux Alma_9""".split()
KEYS = """vm.swappiness net.ipv4.ip_forward net.core.somaxconn fs.file-max kernel.panic net.ipv4.tcp_syncookies vm.overcommit_memory
net.core.rmem_max net.ipv6.conf.all.disable_ipv6 kernel.pid_max vm.max_map_count fs.inotify.max_user_watches vm.dirty_ratio
net.ipv4.tcp_fin_timeout kernel.sysrq net.netfilter.nf_conntrack_max vm.vfs_cache_pressure net.ipv4.conf.all.rp_filter""".split()
ZONES = """America/Sao_Paulo Europe/Berlin UTC Europe/Lisbon America/New_York Asia/Tokyo Europe/London America/Manaus Europe/Paris
Asia/Kolkata Australia/Sydney America/Chicago Africa/Lagos Europe/Madrid Asia/Shanghai America/Bahia Pacific/Auckland Europe/Rome
America/Argentina/Buenos_Aires Asia/Dubai Europe/Vienna America/Los_Angeles Europe/Moscow Asia/Singapore Etc/UTC""".split()
GROUPS = "sudo docker wheel www-data adm audio video developers staff backup libvirt users ops dialout kvm systemd-journal sftp webdev finance lp".split()
FILES = """nginx.conf sshd_config my.cnf php.ini docker-compose.yml id_rsa .bashrc hosts backup.sql report.pdf app.log access.log fstab
wp-config.php settings.py config.yaml notes.txt resolv.conf crontab server.key data.csv httpd.conf .env core libssl.so.3""".split()
QUERIES = """postfix relay configuration|nginx rate limiting|how to tune postgresql|latest kernel release|cve-2024-3094|ubuntu 24.04 release notes|
suricata rules update|zfs on root debian|configuração do postfix|rate limit no nginx|novidades do kernel linux|samba active directory|
wireguard road warrior|ext4 vs xfs benchmark|systemd timers examples|erro 502 no nginx|letsencrypt wildcard|openvpn no debian 12|
log4shell mitigation|docker rootless mode|high availability haproxy|iptables to nftables migration|ceph requirements|fail2ban regex apache"""
QUERIES = [q.strip() for q in QUERIES.replace("\n", "").split("|")]


class PlanValues(Values):
    """The slots of requests. Each returns the value; some have a second spelling for the request (see `spoken`)."""

    def pkg(self):
        if self.chance(0.55):
            return self.pick(PACKAGES)
        name = self.madeup()
        return self.pick([name, f"{name}-{self.word()}", f"lib{name}{self.one()}", f"{self.word()}-{name}", f"{name}{self.one()}", f"python3-{name}", f"{name}-{self.pick(['server', 'tools', 'utils', 'client', 'dev', 'common', 'cli'])}", f"{name}-{self.one()}.{self.one()}"])

    def unit(self):
        name = self.pick(UNITS) if self.chance(0.55) else self.pick([self.madeup(), f"{self.word()}-{self.madeup()}", f"{self.madeup()}d", f"{self.word()}-{self.word()}", f"{self.madeup()}@{self.one()}"])
        return name + ".service" if self.chance(0.2) else name

    def name(self):
        r = self.rng.random()
        if r < 0.35:
            return self.pick("nginx java python3 node firefox chrome postgres redis mysql web db app traefik grafana proxy worker api cache gitlab nextcloud backup data home logs".split())
        return self.pick([self.madeup(), self.word(), f"{self.word()}-{self.madeup()}", f"{self.madeup()}{self.one()}", f"{self.word()}_{self.word()}", f"{self.madeup()}-{self.one()}"])

    def host(self):
        return self.pick([self.ip4(), self.lan(), self.domain(), self.domain(), f"{self.word()}{self.small()}", "localhost", "google.com", "8.8.8.8", self.ip6()])

    def path(self):
        r = self.rng.random()
        base = self.pick(["/srv", "/opt", "/var/lib", "/home", "/mnt", "/data", "/var/log", "/etc", "/var/www", "/usr/local/bin", "/tmp", "/root", "/backup", "/media"])
        if r < 0.25:
            return self.dir()
        if r < 0.6:
            return f"{base}/{self.word()}"
        return f"{base}/{self.madeup()}{self.pick(['', '/' + self.word(), '.log', '.conf', '.sh', '.txt', '.pem', '-' + self.word(), '_old', '.crt', '.iso', '.py'])}"

    def path2(self):
        return self.path()

    def filepath(self):
        return f"{self.path().split('.')[0].rstrip('/')}{self.pick(['.log', '.txt', '.conf', '.tmp', '.sql', '.iso', '.bak', '.csv', '.tar.gz', '.pdf', '.core'])}"

    def archive(self):
        return f"{self.pick(['', '', self.path().split('.')[0].rstrip('/') + '/'])}{self.word()}{self.pick(['', '-' + self.ver()])}{self.pick(['.tar.gz', '.tgz', '.tar', '.tar.xz', '.tar.bz2', '.tar.zst'])}"

    def file(self):
        return self.pick(FILES) if self.chance(0.4) else f"{self.word()}{self.pick(['', '-', '_'])}{self.madeup()}{self.pick(['.conf', '.log', '.txt', '.sh', '.py', '.pdf', '.yml', '', '.json', '.php'])}"

    def ip(self):
        return self.ip4() if self.chance(0.6) else self.lan() if self.chance(0.5) else self.ip6()

    def url(self):
        return f"{self.pick(['http', 'https'])}://{self.domain()}{self.pick(['', '', '/', self.urlpath(), ':8080', '/health', '/api/status'])}"

    def dev(self):
        return self.pick([f"/dev/sd{self.pick('abcdefgh')}", f"/dev/sd{self.pick('abcdefgh')}{self.one()}", "/dev/nvme0n1", f"/dev/nvme{self.bit()}n1p{self.one()}", f"/dev/vd{self.pick('abcd')}", f"/dev/vd{self.pick('abcd')}{self.one()}", f"/dev/md{self.one()}", f"/dev/xvd{self.pick('bcdf')}", f"/dev/mapper/{self.word()}"])

    def vg(self):
        return self.pick(["vg0", "vg1", "data", "ubuntu-vg", "vg_data", "pool", "sysvg", "rl", "centos", "storage", f"vg_{self.madeup()}", self.madeup(), f"{self.word()}-vg"])

    def lv(self):
        name = self.pick(["root", "home", "var", "data", "swap", "backup", "mysql", "srv", self.madeup(), f"lv_{self.word()}", self.word()])
        return self.pick(["/dev/", "/dev/", ""]) + f"{self.vg()}/{name}"

    def rh(self):
        return self.pick(REDHAT).replace("_", " ")

    def group(self):
        return self.pick(GROUPS) if self.chance(0.75) else self.madeup()

    def mode(self):
        return self.pick(["644", "755", "600", "700", "640", "750", "664", "775", "400", "444", "0644", "2775", "1777", "u+x", "g+w", "o-r", "+x", "a+r", "770", "660", "777"])

    def key(self):
        return self.pick(KEYS) if self.chance(0.8) else f"{self.pick(['net.ipv4', 'vm', 'kernel', 'fs', 'net.core'])}.{self.madeup()}"

    def value(self):
        return str(self.pick([0, 1, 2, 10, 60, 100, 128, 1024, 4096, 65535, 262144, 1000000, self.small(), self.num()]))

    def zone(self):
        return self.pick(ZONES)

    def query(self):
        r = self.rng.random()
        return self.pick(QUERIES) if r < 0.5 else f"{self.pick(PACKAGES)} {self.word()}" if r < 0.8 else f"{self.madeup()} {self.word()} {self.word()}"

    def size(self):
        return f"{self.rng.choice((1, 2, 4, 5, 8, 10, 16, 20, 50, 100, 500, 512, 256, self.small()))}{self.pick('GGGMT')}"

    def hour(self):
        return str(self.rng.randint(0, 23))

    def spoken(self, name, value, language):
        """How the request says a value that the command writes in its own form."""
        if name == "size":
            number, unit = value[:-1], value[-1]
            words = {"G": ["GB", "gigabytes", "gigas", "gb", "G", "GiB"], "M": ["MB", "megabytes", "megas", "mb", "M", "MiB"], "T": ["TB", "terabytes", "teras", "tb", "T", "TiB"]}[unit]
            return self.pick([value, value, number + words[0], f"{number} {self.pick(words)}", number + self.pick(words)])
        if name == "hour":
            h = int(value)
            forms = [f"{h:02d}:00", f"{h}:00", f"{h}"]
            if language == "pt":
                forms += [f"{h}h", f"{h} horas", f"{h:02d}h00", f"{h}h da manhã" if 0 < h < 12 else f"{h}h", f"{h} da manhã" if 0 < h < 12 else f"{h} horas"]
            else:
                forms += [f"{(h - 1) % 12 + 1} {'am' if h < 12 else 'pm'}", f"{(h - 1) % 12 + 1}{'am' if h < 12 else 'pm'}"] + ([f"{h} o'clock"] if h else ["midnight"]) + (["noon"] if h == 12 else [])
            return self.pick(forms)
        return value


class Plans:
    def __init__(self, rng, which="all"):
        self.rng, self.values, self.phrases = rng, PlanValues(rng), Phrases(rng)
        self.wordings = {}
        for path in sorted((HERE / "wordings").glob("plan-*.txt")):
            for name, lines in load_sections(path).items():
                self.wordings.setdefault(name, []).extend(part(lines, which))
        self.intents = load_intents()

    def sample(self):
        """(intent, request, plan JSON)"""
        intent = self.rng.choice(self.intents)
        language = self.rng.choice(["en", "en", "pt"])
        lines = self.wordings.get(f"{intent.id} {language}")
        if not lines:
            return self.sample()
        wording = self.rng.choice(lines)
        slots = {name: str(getattr(self.values, name)()) for name in slot_names(intent, wording)}
        spoken = {name: self.values.spoken(name, value, language) for name, value in slots.items()}
        # The request names an hour in words; a file to delete is a path like any other in the command.
        said = spoken | {"hourtext": spoken.get("hour", "")}
        if "{filepath}" in wording:
            said["filepath"] = slots["path"] = self.values.filepath()
        if "{archive}" in wording:
            said["archive"] = slots["path"] = self.values.archive()
        keep = [w for v in said.values() for w in v.split(" ")]
        text = self.phrases.expand(wording, said)
        if language == "pt":
            text = self.portuguese(text, keep)
        text = self.phrases.noisy(text, keep, language)
        return intent, text, plan_json(intent, slots, language)

    def portuguese(self, text, keep):
        """Many people type without accents."""
        if self.rng.random() < 0.35:
            text = " ".join(w if w in keep else unaccented(w) for w in text.split(" "))
        return text


def slot_names(intent, wording):
    """The slots of an intent and of the wording at hand."""
    text = " ".join([wording, *(s.command + " " + s.explain["en"] for s in intent.steps)])
    names = [part.split("}")[0] for part in text.split("{")[1:]]
    known = [n for n in names if n not in ("filepath", "archive") and n.isidentifier() and hasattr(PlanValues, n)]
    return list(dict.fromkeys(known))


def unplanned(request, language):
    explain = {"en": "No built-in plan fits; search the web.", "pt": "Nenhum plano embutido serve; pesquisa na web."}[language]
    step = {"type": "use_tool", "name": "web_search", "args": {"query": request}, "explain": explain, "riskLevel": "low"}
    return compact([step])


def compact(steps):
    return json.dumps({"steps": steps}, ensure_ascii=False, separators=(",", ":"))


def plan_json(intent, slots, language):
    steps = [step.render(slots, language) for step in intent.steps]
    for step in steps:
        if ":" in slots.get("ip", ""):
            step["command" if "command" in step else "explain"] = step.get("command", step["explain"]).replace(" ip saddr ", " ip6 saddr ")
    return compact(steps)
