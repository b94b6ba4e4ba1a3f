"""Random values for the {slots} of templates: addresses, names, paths, times.

Names are half the time made up from syllables, so that the model learns to read (and to copy) names it never saw.
"""

import re
import string

SYLLABLES = """ka lo mi ra ten vi do sa ne ru po li ma ki zu fe gra tor bel nex ora syn dex pha lum qui zen bri cor dal
fen gal hex ion jav kel lyn mox nor oss pyr rex sol tam urb vex wyn xan yor zar ble cru dra fli glo pre sta tri""".split()
WORDS = """report sync build cache queue metrics backup invoice portal billing orders search images video mail users
auth gateway worker batch export import feeds stats panel shop wiki forum chat events sensor fleet parts payroll crm
ledger tickets assets media render crawl index ingest relay proxy agent sandbox staging demo legacy core edge api web
app data store stock cart price news blog docs files print scan vault audit policy""".split()
USERS = """alice bob carol dave erin frank grace heidi ivan judy mallory oscar peggy trent victor walter maria joao ana pedro
carlos lucia marcos paulo rafael bruno fernanda juliana diego camila roger jsmith mbrown deploy ansible jenkins backup
gitlab ubuntu debian ec2-user vagrant devops operador suporte tomas karl anna nina sven lars yuki chen wei ahmed fatima
olga dmitri kim lee jones miller pat sam alex chris""".split()
BAD_USERS = """admin test oracle postgres ubnt pi user guest ftpuser nagios support git mysql hadoop minecraft teamspeak
steam administrator demo info web www data operator service default dev student tomcat jboss zabbix vpn 1234 a qwerty
sysadmin ftp odoo elastic kafka redis mongo gpadmin supervisor cisco""".split()
HOST_WORDS = "web db app mail ns proxy cache node worker edge gw fw srv host vm bastion backup mon log git ci k8s nas vpn lb".split()
TLDS = "com net org io dev com.br de fr info co.uk pt eu app cloud example local lan internal".split()
PROGRAMS = """nginx mysqld java python3 node postgres php-fpm redis-server chrome firefox dockerd containerd sshd rsync
mongod elasticsearch gunicorn celery httpd apache2 systemd-journal kworker/u8:2 stress ffmpeg tar prometheus grafana
qemu-system-x86 mariadbd named dnsmasq snapd clamd ruby puma beam.smp gitlab-runner perl telegraf""".split()
UNITS = """nginx mysql postgresql docker ssh sshd apache2 redis-server mariadb php8.1-fpm cron rsyslog haproxy grafana-server
prometheus node_exporter elasticsearch kibana rabbitmq-server memcached bind9 named postfix dovecot fail2ban ufw nftables
NetworkManager systemd-resolved chrony smbd nfs-server openvpn wg-quick@wg0 zabbix-agent telegraf jenkins tomcat9 mongod
snapd cups bluetooth squid vsftpd certbot apt-daily logrotate backup myapp fazai containerd kubelet unattended-upgrades
""".split()
DESCRIPTIONS = """A high performance web server and a reverse proxy server|MySQL Community Server|PostgreSQL RDBMS|Docker
Application Container Engine|OpenBSD Secure Shell server|The Apache HTTP Server|Advanced key-value store|MariaDB database
server|Daily apt download activities|Rotate log files|Network Manager|Cleanup of Temporary Directories|System Logging
Service|Postfix Mail Transport Agent|Prometheus exporter for machine metrics|Grafana instance|LSB: Start and stop the daemon|
Daily Cleanup of Temporary Directories|Network Name Resolution|Regular background program processing daemon|Backup job|
Samba SMB Daemon|Certbot renewal|Message of the Day|Kubernetes agent|nightly export|Permit User Sessions|GitLab Runner|
RabbitMQ broker|Unattended Upgrades Shutdown|Discard unused blocks on filesystems|Load Kernel Modules|My application"""
DESCRIPTIONS = [" ".join(d.split()) for d in DESCRIPTIONS.split("|")]
PATHS = """/etc/passwd /etc/hosts /etc/nginx/nginx.conf /var/log/syslog /var/log/nginx/error.log /var/www/html/index.php
/srv/data /home/alice/report.pdf /opt/app/config.yml /usr/bin/python3 /var/lib/mysql /etc/ssh/sshd_config /tmp/upload.tmp
/root/.bashrc /etc/ssl/private/site.key /var/backups/db.sql /usr/local/bin/run.sh /etc/fstab /mnt/backup""".split()
DIRS = """/ /home /var /srv /data /opt /tmp /var/log /var/lib/mysql /mnt/backup /boot /var/www /usr/local /home/alice /srv/www
/var/lib/docker /media/usb /backup /export /etc""".split()
BINS = """/usr/sbin/nginx /usr/sbin/mysqld /usr/bin/python3 /usr/bin/cupsd /usr/sbin/tcpdump /usr/bin/evince /usr/sbin/sshd
/usr/lib/snapd/snap-confine /usr/bin/perl /opt/app/bin/server /usr/sbin/named /usr/bin/java""".split()
LIBS = "libc-2.31.so libc.so.6 libpthread-2.27.so libcrypto.so.3 libxul.so libstdc++.so.6.0.30 libnode.so.72 libmozglue.so".split()
COMMANDS = """/usr/bin/apt update|/usr/bin/systemctl restart nginx|/usr/bin/tail -f /var/log/syslog|/usr/bin/cat /etc/hosts|
/bin/ls /root|/usr/sbin/ufw status|/usr/bin/docker ps|/usr/bin/journalctl -xe|/usr/bin/vim /etc/fstab|/usr/sbin/reboot|
/usr/bin/apt-get install -y htop|/usr/local/bin/backup.sh|/usr/bin/certbot renew|/usr/bin/find / -name core|/bin/chown -R www-data /srv|
/usr/bin/dpkg -i pkg.deb|/usr/bin/python3 /opt/job.py|test -x /usr/sbin/anacron || ( cd / && run-parts /etc/cron.daily )|
/usr/lib/php/sessionclean|/usr/bin/rsync -a /srv /backup|/usr/bin/mysqldump shop"""
COMMANDS = [c.strip() for c in re.sub(r"\n", "", COMMANDS).split("|") if c.strip()]
NICS = "eth0 eth1 ens3 ens18 ens192 enp0s3 enp3s0 eno1 eno2 wlan0 bond0 em1 enp1s0f0 wlp2s0 venet0".split()
DRIVERS = "e1000e igb ixgbe r8169 bnx2x tg3 mlx5_core virtio_net i40e be2net".split()
DISKS = "sda sdb sdc sdd sde vda vdb xvda nvme0n1 nvme1n1 sdf hda mmcblk0".split()
PARTS = "sda1 sda2 sdb1 sdc1 vda1 nvme0n1p2 dm-0 dm-1 dm-3 md0 md127 xvda1 sdd3 sde1 mmcblk0p2".split()
MODULES = "nvidia vboxdrv zfs wireguard diamorphine r8168 rtl8812au vmmon hello reptile openafs falco lime".split()
PORTS = [22, 23, 25, 53, 80, 110, 143, 443, 445, 993, 1433, 2222, 3000, 3306, 3389, 5000, 5060, 5432, 5900, 6379, 8000, 8080, 8443, 9000, 9090, 9200, 27017]
SERVICE_GROUPS = "developers staff finance webdev printers media lpadmin sambashare operators dba qa interns".split()
JAILS = "sshd nginx-http-auth postfix recidive apache-auth dovecot sshd-ddos nginx-botsearch wordpress vsftpd".split()
STATUSES = "1/FAILURE 203/EXEC 127/n/a 2/INVALIDARGUMENT 255/EXCEPTION 200/CHDIR 217/USER 226/NAMESPACE 3/NOTIMPLEMENTED 126/n/a 137/n/a 78/CONFIG".split()
TARGETS = """Multi-User System|Graphical Interface|Network|Network is Online|Basic System|Local File Systems|Timer Units|
Login Prompts|Shutdown|System Time Synchronized|Paths|Remote File Systems|Sockets""".replace("\n", "").split("|")
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
URL_PATHS = """/ /index.html /about /contact /login /api/v1/users /api/orders /static/app.js /css/main.css /images/logo.png
/favicon.ico /robots.txt /products/42 /search?q=shoes /blog/2024/05/hello-world /health /metrics /feed.xml /cart
/assets/img/hero.jpg /api/v2/items?page=3 /docs/install.html /sitemap.xml /download/report.pdf /account/settings
/news/latest /wp-content/uploads/2023/01/a.jpg /fonts/inter.woff2 /checkout /pt/produtos /de/kontakt /api/status
/category/books?sort=price /user/profile /static/css/style.min.css /video/intro.mp4 /graphql /ws /events/stream
/index.php?id=12 /forum/viewtopic.php?t=88 /manifest.json /logout /signup /api/login /help/faq""".split()
BROWSERS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101 Firefox/{n}.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{m} Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{m} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Prometheus/2.{n}.0", "kube-probe/1.{m}", "Uptime-Kuma/1.{n}", "ELB-HealthChecker/2.0", "curl/8.{m}.0", "python-requests/2.{n}.0",
    "okhttp/4.{m}.0", "Go-http-client/1.1", "Wget/1.21.{m}", "Mozilla/5.0 (Linux; Android 14; Pixel 7) Chrome/{n}.0 Mobile Safari/537.36",
    "Debian APT-HTTP/1.3 (2.6.{m})", "-", "PostmanRuntime/7.{n}.0", "Slackbot-LinkExpanding 1.0",
]
SCANNERS = [
    "sqlmap/1.7.{m}#stable (https://sqlmap.org)", "Mozilla/5.00 (Nikto/2.1.6) (Evasions:None) (Test:Port Check)",
    "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)", "masscan/1.3 (https://github.com/robertdavidgraham/masscan)",
    "Mozilla/5.0 zgrab/0.x", "gobuster/3.{m}", "DirBuster-1.0-RC1 (http://www.owasp.org/index.php/Category:OWASP_DirBuster_Project)",
    "Fuzz Faster U Fool v2.{m}.0 ffuf", "WPScan v3.8.{n} (https://wpscan.com/wordpress-security-scanner)", "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
    "feroxbuster/2.{m}.0", "sqlmap/1.{m}", "nikto", "Mozilla/5.0 (compatible; nuclei/3.{m})", "ffuf/2.1.0", "wpscan", "zgrab/0.x", "nmap", "gobuster/3.{m}.0",
]
# Messages of daemons nobody has heard of. <thing>, <do>, <did> ... are drawn from the lists below, {slots} as ever.
MESSAGES = {
    "routine": """connection established with {host}|request completed in {num} ms|user {user} logged in|cache warmed|{num} <thing>s processed|
session {hex} created|heartbeat ok|reloading configuration|shutting down gracefully|worker {small} ready|flushed {num} entries|
new connection from {lan}:{eport}|scheduled job {word} finished|loaded plugin {word}|snapshot {hex4} saved|listening for events|
registered node {host}|published {small} messages to {word}|health check passed|lease renewed for {lan}|index {word} opened|
garbage collection took {small} ms|starting {word} service|rotated keys|subscription to {word} accepted|peer {host} joined|
<thing> {word} <did>|<did> <thing> {word}|<did> {num} <thing>s|<thing> {hex4} <did> successfully|<doing> <thing> {word}|finished <doing> <thing> {word}|
all <thing>s are up to date|<thing> {word} is ready|ready to serve <thing>s|{num} of {num} <thing>s <did>|next run in {small} minutes|
using configuration {path}|{prog} {ver} starting up|bound to {lan}:{port}|accepted client {lan}|client {lan} disconnected|statistics: {num} <thing>s, {num} hits|
<doing> <thing> from {host}|<did> <thing> in {small} ms|state changed from idle to active|nothing to do|checking for updates|no changes|cleanup done, {num} files removed""",
    "warn": """response from {host} was slow ({num} ms)|queue {word} is {small}% full|configuration key {word} is unknown|retrying request to {domain}|
clock skew of {small} ms detected|certificate for {domain} expires in {small} days|cache miss rate is high|fallback to default value for {word}|
connection pool is nearly exhausted|unusual number of requests from {lan}|could not reverse resolve {ip}|option {word} is deprecated|
skipping unreadable file {path}|high latency on {nic}|timeout was increased to {small} s|duplicate entry for {word} ignored|
<thing> {word} is older than expected|<doing> <thing> took {num} ms|<thing> {word} will be ignored|low on <thing>s, {small} left|<thing> {word} is not encrypted|
{word} is deprecated, use {word} instead|no <thing> given, using the default|slow <thing> {word}: {small} s|<thing> {word} has no owner|retry {one} of 5 for <thing> {word}|
unexpected value for {word}, using {num}|<thing> {word} is almost full|running without <thing> {word}|old protocol version from {lan}|{num} <thing>s are waiting""",
    "fail": """failed to connect to {host}:{port}|could not open {path}|unable to resolve {domain}|request to {domain} failed with status 50{one}|
cannot parse {path}: unexpected token at line {small}|failed to send mail to {user}@{domain}|job {word} failed|upload of {path} failed|
unexpected EOF from {lan}|handshake with {host} failed|could not write {path}|transaction {hex4} rolled back|failed to load module {word}|
invalid response from {host}|replication from {host} stopped|checksum mismatch in {path}|unhandled exception in worker {small}|
failed to fetch {word} from {domain}|query failed: timeout after {small} s|import of {word} failed|unable to lock {path}|
failed to <do> <thing> {word}|could not <do> <thing> {word}|unable to <do> <thing> {word}|cannot <do> <thing> {word}|error while <doing> <thing> {word}|<doing> <thing> {word} failed: <why>|
<thing> {word} could not be <did>: <why>|failed to <do> <thing>: <why>|<thing> {word}: <why>|could not <do> {path}: <why>|<do> failed: <why>|
lost connection to {host}|<thing> {hex4} was rejected by {host}|giving up on <thing> {word}|<do> of <thing> {word} returned code {one}|{host} refused <thing> {word}""",
    "fatal": """could not bind to port {port}|cannot load configuration {path}|database {db} is corrupted|out of retries, giving up on {host}|
unrecoverable error in {word}|failed to initialize {word}|required file {path} is missing|assertion failed in {word}.c line {num}|
segmentation violation in {word}|license is invalid|unable to start server|corrupted store at {path}|runtime error: index out of range [{small}]|
lost quorum, shutting down|cannot allocate listener on {port}|cannot start without <thing> {word}|unable to <do> <thing> {word}, aborting|<thing> store {path} is corrupted|
failed to start: <why>|cannot continue: <why>|initialisation failed: <why>|could not <do> required <thing> {word}|unhandled exception, terminating|data of <thing> {word} is corrupted""",
}
MESSAGES = {name: text.replace("\n", "").split("|") for name, text in MESSAGES.items()}
MESSAGE_WORDS = {
    "thing": """record message document event job task order invoice user account file object image block page index table row key token session
ticket mail feed item batch stream channel topic volume bucket backup archive report template certificate route rule filter plugin module worker
replica shard node device sensor sample metric alert policy license profile request query transaction""".split(),
    "do": "load read write open save send fetch update delete create parse sync import export store process publish deliver validate decode compress index mount register rotate migrate restore refresh convert".split(),
    "did": "loaded read written opened saved sent fetched updated deleted created parsed synced imported exported stored processed published delivered validated decoded compressed indexed mounted registered rotated migrated restored refreshed converted".split(),
    "doing": "loading reading writing opening saving sending fetching updating deleting creating parsing syncing importing exporting storing processing publishing delivering validating decoding compressing indexing registering rotating migrating restoring refreshing".split(),
    "why": """connection refused|permission denied|no such file or directory|timed out after {small} s|invalid argument|unexpected end of file|broken pipe|
connection reset by peer|not authorized|checksum does not match|bad gateway|host unreachable|name resolution failed|certificate verify failed|unknown error {small}|
invalid header|quota reached|duplicate key|protocol error|resource busy|authentication required|device not ready|address already in use""".replace("\n", "").split("|"),
}


class Values:
    """Draws values from one random generator, so that a seed fixes everything."""

    def __init__(self, rng):
        self.rng = rng

    def fill(self, template):
        """Resolve [[a|b]] and {slots}; a slot inside a value is filled as well."""
        while "[[" in template:
            template = re.sub(r"\[\[((?:(?!\[\[|\]\]).)*)\]\]", lambda m: self.rng.choice(m[1].split("|")), template)
        for _ in range(3):
            template = re.sub(r"\{([a-zA-Z_0-9]+)\}", self.slot, template)
        return template

    def slot(self, match):
        name = match[1]
        method = getattr(self, name, None)
        return match[0] if method is None or name.startswith("_") else str(method())

    def pick(self, items):
        return self.rng.choice(items)

    def chance(self, p):
        return self.rng.random() < p

    def digits(self, n):
        return "".join(self.rng.choices(string.digits, k=n))

    # Names
    def madeup(self):
        return "".join(self.rng.choices(SYLLABLES, k=self.rng.choice((2, 2, 3))))

    def word(self):
        return self.pick(WORDS) if self.chance(0.6) else self.madeup()

    def Word(self):
        return self.word().capitalize()

    def WORD(self):
        return self.word().upper()

    def user(self):
        r = self.rng.random()
        if r < 0.6:
            return self.pick(USERS)
        name = self.madeup()
        return name if r < 0.85 else f"{name[0]}.{self.madeup()}" if r < 0.92 else f"svc-{name}" if r < 0.96 else f"{name}{self.digits(2)}"

    def baduser(self):
        return self.pick(BAD_USERS) if self.chance(0.7) else self.madeup()

    def host(self):
        r = self.rng.random()
        name = f"{self.pick(HOST_WORDS)}{self.pick(['', '-', '0'])}{self.rng.randint(1, 20)}" if r < 0.6 else self.word()
        return name if r < 0.5 or r > 0.9 else f"{name}.{self.domain()}"

    def domain(self):
        name = self.word() if self.chance(0.6) else f"{self.word()}-{self.word()}"
        return f"{name}.{self.pick(TLDS)}" if self.chance(0.7) else f"{self.pick(HOST_WORDS)}.{name}.{self.pick(TLDS)}"

    def DOMAIN(self):
        return self.domain().upper()

    def prog(self):
        return self.pick(PROGRAMS) if self.chance(0.6) else self.word()

    def unit(self):
        name = self.pick(UNITS) if self.chance(0.6) else f"{self.word()}-{self.word()}" if self.chance(0.5) else self.madeup()
        return f"{name}.{'service' if self.chance(0.9) else self.pick(['socket', 'timer', 'mount', 'scope'])}"

    def etcunit(self):
        return f"{self.pick(['/etc/systemd/system', '/lib/systemd/system', '/usr/lib/systemd/system'])}/{self.unit()}"

    def desc(self):
        return self.pick(DESCRIPTIONS) if self.chance(0.7) else f"{self.Word()} {self.word()} {self.pick(['service', 'daemon', 'server', 'job', 'agent'])}"

    def db(self):
        return self.pick("shop wordpress app inventory zabbix nextcloud gitea crm analytics".split()) if self.chance(0.5) else self.madeup()

    # Files
    def path(self):
        return self.pick(PATHS) if self.chance(0.4) else f"{self.dir().rstrip('/')}/{self.word()}{self.pick(['', '.conf', '.log', '.txt', '.db', '.tmp', '.yml', '.sh'])}"

    def dir(self):
        return self.pick(DIRS) if self.chance(0.5) else f"{self.pick(['/srv', '/opt', '/var/lib', '/home', '/mnt', '/data', '/var/log'])}/{self.word()}"

    def bin(self):
        return self.pick(BINS)

    def lib(self):
        return self.pick(LIBS)

    def cmd(self):
        return self.pick(COMMANDS) if self.chance(0.7) else f"/usr/bin/{self.word()} {self.pick(['', '--all', '-v', self.dir()])}".strip()

    # Network
    def ip4(self):
        return ".".join(str(self.rng.randint(*r)) for r in ((1, 223), (0, 255), (0, 255), (1, 254)))

    def ip6(self):
        groups = [f"{self.rng.randint(0, 0xFFFF):x}" for _ in range(self.rng.choice((2, 3, 5)))]
        return f"{self.pick(['2001:db8', '2a02:4780', '2a01:4f8', '2607:f8b0', '2804:14c'])}:{':'.join(groups)}::{self.rng.randint(1, 0xFFFF):x}"

    def ip(self):
        r = self.rng.random()
        return self.ip4() if r < 0.8 else self.ip6() if r < 0.9 else self.lan()

    def lan(self):
        r = self.rng.random()
        if r < 0.5:
            return f"192.168.{self.rng.randint(0, 254)}.{self.rng.randint(1, 254)}"
        return f"10.{self.rng.randint(0, 254)}.{self.rng.randint(0, 254)}.{self.rng.randint(1, 254)}" if r < 0.9 else f"172.{self.rng.randint(16, 31)}.{self.rng.randint(0, 254)}.{self.rng.randint(1, 254)}"

    def port(self):
        return self.pick(PORTS) if self.chance(0.8) else self.rng.randint(1, 65535)

    def eport(self):
        return self.rng.randint(1024, 65535)

    def mac(self):
        return ":".join(f"{self.rng.randint(0, 255):02x}" for _ in range(6))

    def nic(self):
        return self.pick(NICS)

    def driver(self):
        return self.pick(DRIVERS)

    def pci(self):
        return f"0000:{self.rng.randint(0, 99):02d}:00.{self.rng.randint(0, 3)}"

    def urlpath(self):
        return self.pick(URL_PATHS) if self.chance(0.6) else f"/{self.word()}/{self.word()}{self.pick(['', '.html', '.php', '.js', '.png', f'?id={self.small()}', '/'])}"

    def req(self):
        return f"{self.pick(['GET', 'GET', 'GET', 'POST', 'HEAD', 'PUT', 'DELETE'])} {self.urlpath()} HTTP/{self.pick(['1.1', '1.1', '2.0', '1.0'])}"

    def agent(self):
        return self.version_in(self.pick(BROWSERS))

    def scanner(self):
        return self.version_in(self.pick(SCANNERS))

    def version_in(self, text):
        return text.replace("{n}", str(self.rng.randint(20, 130))).replace("{m}", str(self.rng.randint(1, 9)))

    # Devices
    def disk(self):
        return self.pick(DISKS)

    def part(self):
        return self.pick(PARTS)

    def mod(self):
        return self.pick(MODULES) if self.chance(0.6) else self.madeup()

    # Numbers
    def pid(self):
        return self.rng.randint(2, 99999) if self.chance(0.8) else self.rng.randint(100000, 4000000)

    def uid(self):
        return self.rng.choice((1000, 1001, 1002, 33, 0, 999, self.rng.randint(1000, 60000)))

    def sysuid(self):
        return self.rng.randint(100, 998)

    def num(self):
        return self.rng.randint(10, 10 ** self.rng.randint(2, 7))

    def small(self):
        return self.rng.randint(1, 99)

    def few(self):
        return self.rng.randint(3, 15)

    def one(self):
        return self.rng.randint(1, 9)

    def bit(self):
        return self.rng.randint(0, 1)

    def hot(self):
        return self.rng.randint(100, 119)

    def hex(self):
        return f"{self.rng.getrandbits(48):012x}"

    def hex4(self):
        return f"{self.rng.getrandbits(16):04x}"

    def HEX(self):
        return f"{self.rng.getrandbits(40):010X}"

    def b64(self):
        return "".join(self.rng.choices(string.ascii_letters + string.digits + "+/", k=self.rng.randint(20, 43)))

    def uuid(self):
        h = f"{self.rng.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"

    def ver(self):
        return f"{self.rng.randint(0, 12)}.{self.rng.randint(0, 30)}.{self.rng.randint(0, 20)}"

    def kver(self):
        return f"{self.rng.randint(4, 6)}.{self.rng.randint(0, 19)}.0-{self.rng.randint(1, 140)}{self.pick(['-generic', '-amd64', '.el9.x86_64'])}"

    # Lists
    def status(self):
        return self.pick(STATUSES)

    def target(self):
        return self.pick(TARGETS)

    def jail(self):
        return self.pick(JAILS)

    def svcgroup(self):
        return self.pick(SERVICE_GROUPS)

    def message(self, kind):
        return re.sub(r"<(\w+)>", lambda m: self.pick(MESSAGE_WORDS[m[1]]), self.pick(MESSAGES[kind]))

    def routine(self):
        return self.message("routine")

    def warn(self):
        return self.message("warn")

    def fail(self):
        return self.message("fail")

    def fatal(self):
        return self.message("fatal")

    # Times
    def ymd(self):
        return self.rng.randint(2019, 2027), self.rng.randint(1, 12), self.rng.randint(1, 28)

    def hms(self):
        return f"{self.rng.randint(0, 23):02d}:{self.rng.randint(0, 59):02d}:{self.rng.randint(0, 59):02d}"

    def date(self):
        y, m, d = self.ymd()
        return f"{y}-{m:02d}-{d:02d} {self.hms()}"

    def iso(self):
        return f"{self.date().replace(' ', 'T')}{self.pick(['Z', '+00:00', '.' + self.digits(6) + 'Z', '-03:00', '.' + self.digits(9) + 'Z', '+02:00'])}"

    def eve_time(self):
        return f"{self.date().replace(' ', 'T')}.{self.digits(6)}{self.pick(['+0000', '+0000', '+0100', '-0300', '+0200'])}"

    def sys_time(self):
        _, m, d = self.ymd()
        return f"{MONTHS[m - 1]} {d:2d} {self.hms()}"

    def ngx(self):
        return self.date().replace("-", "/")

    def apdate(self):
        y, m, d = self.ymd()
        return f"{self.pick('Mon Tue Wed Thu Fri Sat Sun'.split())} {MONTHS[m - 1]} {d:02d} {self.hms()}.{self.digits(6)} {y}"

    def clf_time(self):
        y, m, d = self.ymd()
        return f"{d:02d}/{MONTHS[m - 1]}/{y}:{self.hms()} {self.pick(['+0000', '+0100', '-0300', '+0200'])}"
