"""Suricata EVE and Falco events. Each function returns the event and the arguments of triage.label()."""

from pathlib import Path

from phrases import part
from triage_web import request, verdict

HERE = Path(__file__).parent
LEVELS = ["info", "low", "medium", "high", "critical"]

# classification -> (category, usual alert.severity)
CLASSES = {
    "A Network Trojan was detected": ("malware", 1),
    "Malware Command and Control Activity Detected": ("malware", 1),
    "Domain Observed Used for C2 Detected": ("malware", 1),
    "Crypto Currency Mining Activity Detected": ("malware", 2),
    "Exploit Kit Activity Detected": ("malware", 1),
    "Targeted Malicious Activity was Detected": ("malware", 1),
    "Possible Social Engineering Attempted": ("malware", 2),
    "Attempted Administrator Privilege Gain": ("exploit", 1),
    "Attempted User Privilege Gain": ("exploit", 1),
    "Web Application Attack": ("exploit", 1),
    "Executable code was detected": ("exploit", 1),
    "Misc Attack": ("exploit", 2),
    "Successful Administrator Privilege Gain": ("privilege", 1),
    "Successful User Privilege Gain": ("privilege", 1),
    "Successful Credential Theft Detected": ("exfiltration", 1),
    "Information Leak": ("exfiltration", 2),
    "Large Scale Information Leak": ("exfiltration", 2),
    "Sensitive Data was Transmitted Across the Network": ("exfiltration", 2),
    "Detection of a Network Scan": ("recon", 3),
    "Attempted Information Leak": ("recon", 2),
    "Decode of an RPC Query": ("recon", 2),
    "access to a potentially vulnerable web application": ("recon", 2),
    "An attempted login using a suspicious username was detected": ("bruteforce", 2),
    "Attempt to Login By a Default Username and Password": ("bruteforce", 2),
    "Attempted Denial of Service": ("dos", 2),
    "Denial of Service": ("dos", 2),
    "Detection of a Denial of Service Attack": ("dos", 2),
    "Potential Corporate Privacy Violation": ("policy", 1),
    "Potentially Bad Traffic": ("policy", 2),
    "Possibly Unwanted Program Detected": ("policy", 2),
    "Device Retrieving External IP Address Detected": ("policy", 2),
    "A client was using an unusual port": ("policy", 2),
    "Detection of a Non-Standard Protocol or Event": ("policy", 2),
    "Inappropriate Content was Detected": ("policy", 1),
    "Not Suspicious Traffic": ("network", 3),
    "Unknown Traffic": ("network", 3),
    "Misc activity": ("network", 3),
    "Generic Protocol Command Decode": ("network", 3),
    "Generic ICMP event": ("network", 3),
    "A TCP connection was detected": ("network", 4),
    "A suspicious string was detected": ("network", 3),
}
ALWAYS_CRITICAL = {
    "Malware Command and Control Activity Detected",
    "Domain Observed Used for C2 Detected",
    "Successful Administrator Privilege Gain",
    "Successful User Privilege Gain",
    "Successful Credential Theft Detected",
}
CLASS_WORDS = {
    "malware": "MALWARE TROJAN CNC BOTCC COINMINER MOBILE_MALWARE PHISHING EXPLOIT_KIT".split(),
    "exploit": "EXPLOIT WEB_SERVER WEB_SPECIFIC_APPS WEB_CLIENT SHELLCODE SQL COMPROMISED CINS DROP".split(),
    "privilege": ["ATTACK_RESPONSE"],
    "recon": ["SCAN", "SCAN", "RPC"],
    "dos": ["DOS"],
    "policy": "POLICY P2P TOR GAMES CHAT INFO HUNTING ADWARE_PUP".split(),
    "network": ["ICMP", "DNS"],
}
# What follows the class word in a signature.
SUBJECTS = {
    "malware": """Win32/Emotet CnC Activity (POST) M{one}|Cobalt Strike Beacon Observed|Likely Evil EXE download from dotted Quad|
Mirai Variant User-Agent (Inbound)|Trickbot Checkin Response|AgentTesla Exfil Via SMTP|Observed Malicious SSL Cert ({Word} CnC)|
CoinMiner Known Malicious Stratum Authline|Win32/{Word} Stealer CnC Checkin|ELF/Mozi Botnet DHT Config Sent|Zeus Variant CnC Beacon|
Possible Malicious Macro DL EXE|njRAT Callback (Message)|Remcos RAT Checkin {small}|DNS Query to {Word} Domain|XMRig Miner Checkin|
JS/{Word} Skimmer Inbound|Possible Successful Generic Phish|Gh0st RAT Trojan CnC|Dridex Post Checkin Activity|Sliver C2 HTTP Pattern|
IcedID Downloader Activity|Linux/Tsunami IRC Bot Joining|Lokibot Application/Credential Data Exfiltrated|{Word} Ransomware Note Request|
Angler EK Landing Page|Suspicious APK download from {Word}|Known Hostile Domain {domain} Lookup|Qakbot Encrypted Channel|AsyncRAT TLS Certificate""",
    "exploit": """Apache Log4j RCE Attempt (CVE-2021-44228)|Possible SQL Injection Attempt UNION SELECT|Apache Struts OGNL Injection|
Possible CVE-2014-6271 Attempt in Headers|Netgear DGN Remote Code Execution|ThinkPHP RCE Exploitation Attempt|Attempted Directory Traversal|
EternalBlue MS17-010 SMB Buffer Overflow|PHPUnit Remote Code Execution (CVE-2017-9841)|Microsoft Exchange ProxyShell SSRF|WordPress {Word} Plugin LFI|
/bin/sh In URI Possible Shell Command Execution|Possible x86 NOP Sled|VMware vCenter File Upload (CVE-2021-21972)|F5 BIG-IP TMUI RCE|
MVPower DVR Shell UCE|D-Link Devices HNAP SOAPAction Command Injection|Poor Reputation IP group {small}|Known Compromised or Hostile Host Traffic group {small}|
Spamhaus DROP Listed Traffic Inbound group {small}|Citrix ADC Path Traversal (CVE-2019-19781)|Joomla RCE M{one}|Atlassian Confluence OGNL RCE (CVE-2022-26134)|
Dshield Block Listed Source group 1|GitLab ExifTool RCE|OpenSSL Heartbleed Request|Cisco IOS XE Web UI Implant|Spring4Shell Inbound Attempt|
Ivanti Connect Secure Command Injection|Script tag in URI Possible Cross Site Scripting|Fortinet SSL VPN Path Traversal|MOVEit SQL Injection M{one}""",
    "privilege": """id check returned root|Possible Successful Web Shell Upload|Microsoft cmd.exe Banner Outbound|Metasploit Meterpreter stdapi Command|
Root shell over {Word} session|Unusual FTP Server Banner with Admin Access|id check returned userid|Output of id command from HTTP server""",
    "exfiltration": """Possible Credit Card Number Outbound|Cleartext Password File in HTTP Response|SSN Detected in Clear Text|Database Dump in HTTP Response|
Successful Credential Phish {Word}|Kerberos Ticket Leak|Large Outbound Base64 Blob|Private Key Sent in HTTP POST|passwd File Disclosure Response""",
    "recon": """NMAP -sS window 1024|Potential SSH Scan|Suspicious inbound to MySQL port 3306|Suspicious inbound to PostgreSQL port 5432|
Sipvicious Scan|Nessus User Agent|ZmEu Scanner User-Agent Inbound|Potential VNC Scan 5900-5920|Behavioral Unusual Port 445 traffic Potential Scan|
Nikto Scan Remote File Include|MASSCAN Outbound Scan|Zmap User-Agent (Inbound)|Portmap listing UDP 111|Mountd exports Request|DirBuster Web App Scan in Progress|
LibSSH Based Frequent SSH Connections|Censys Inspect Probe|Rapid POP3 Connections|Redis INFO Probe|NETBIOS Session Sweep|SNMP public Community Probe""",
    "bruteforce": """SSH login with suspicious user root|Default admin Credentials Attempt|Telnet login with default password|MySQL root login Attempt|
Tomcat Manager default login|Grafana admin/admin Login|FTP Anonymous Admin Login|Router default Credentials {Word}""",
    "dos": """NTP DDoS Inbound Frequent Un-Authed MON_LIST|Possible Memcached DDoS Amplification|DNS Amplification Attack Inbound|LOIC Javascript DDoS|
SYN Flood Inbound|SSDP Amplification Scan in Progress|Slowloris HTTP Flood|UDP Flood from Botnet {Word}|HTTP/2 Rapid Reset Flood""",
    "policy": """Dropbox.com Offsite File Backup in Use|BitTorrent DHT ping request|Known Tor Relay/Router (Not Exit) Node Traffic group {small}|
External IP Lookup Domain ({domain})|DNS Query to a *.top domain|Python-urllib Suspicious User Agent|GNU/Linux APT User-Agent Outbound|
Steam Client Traffic|Discord Domain in TLS SNI|Cleartext WordPress Login|TeamViewer Keep-alive|Http Client Body contains pass= in cleartext|
Possible Kali Linux hostname in DHCP Request|Vulnerable Java Version Detected|SSH session in progress on Unusual Port|IRC Nick change on Non-Standard Port|
curl User-Agent Outbound|TikTok App Traffic|DNS Over HTTPS Provider {Word}|AnyDesk Remote Desktop Session|Outbound RDP to Internet|Toolbar Install {Word}""",
    "network": """STREAM Packet with invalid ack|STREAM ESTABLISHED packet out of window|Applayer Detect protocol only one direction|PING *NIX|
HTTP unable to match response to request|UDPv4 invalid checksum|TLS invalid record type|STREAM excessive retransmissions|IPv4 truncated packet|
PING Windows|STREAM 3way handshake wrong seq wrong ack|DNS malformed request data|Unusual TTL {small}|HTTP Host header ambiguous|ICMPv6 unknown type""",
}
SUBJECTS = {c: [s.strip() for s in text.replace("\n", "").split("|")] for c, text in SUBJECTS.items()}
REASONS = {
    "malware": ["Malware activity on the network.", "Traffic of malware was detected."],
    "exploit": ["An attempt to exploit a service.", "An exploit attempt was detected."],
    "privilege": ["An attacker may have gained control.", "Signs of a successful break-in."],
    "exfiltration": ["Sensitive data may be leaving.", "Data or credentials may have leaked."],
    "recon": ["Somebody is scanning the network.", "A scan or probe was detected."],
    "bruteforce": ["A login with guessed credentials.", "Somebody tries default logins."],
    "dos": ["A denial-of-service attempt.", "Flood or amplification traffic."],
    "policy": ["Unwanted but not hostile traffic.", "Traffic against the policy."],
    "network": ["Odd but harmless traffic.", "A protocol event without danger."],
}
PROGRAM_ENDS = [".sh", ".elf", ".exe", ".bin", ".ps1", ".bat", ".scr"]
DOWNLOADERS = ["curl/7.{m}8.0", "Wget/1.2{m}", "python-requests/2.{n}", "WindowsPowerShell/5.1", "BusyBox v1.3{m}", "Wget", "curl/8.{m}.0", "Mozilla/5.0 (Windows NT; PowerShell/7.{m})", "busybox wget", "python-requests/2.28.{m}"]
MINING = ["pool.{d}", "xmr.{d}", "xmr-eu1.nanopool.org", "monero.{d}", "pool.minexmr.com", "stratum.nicehash.com", "xmrpool.eu", "eth.nanopool.org", "gulf.moneroocean.stream", "pool.supportxmr.com", "{w}.minexmr.com", "daggerhashimoto.nicehash.com", "monerohash.{d}", "mining-pool.{d}"]


def suricata(v, which):
    kinds = [alert, dns, http, tls, ssh, fileinfo, flow, other]
    kind = v.rng.choices(kinds, (5, 1.1, 1.3, 1.1, 0.7, 1, 1.1, 0.5))[0]
    event, result = kind(v, which)
    return envelope(v, event), result


def envelope(v, event):
    """The fields around the object of the event; any of them may be missing."""
    outer = {"timestamp": v.eve_time(), "event_type": event.pop("event_type")}
    maybe = {
        "flow_id": v.rng.randint(10**14, 2 * 10**15),
        "in_iface": v.nic(),
        "src_ip": event.pop("src_ip", None) or v.ip(),
        "src_port": v.eport(),
        "dest_ip": v.lan() if v.chance(0.7) else v.ip(),
        "dest_port": v.port(),
        "proto": v.pick(["TCP", "TCP", "UDP"]),
        "host": v.host(),
        "pcap_cnt": v.num(),
        "tx_id": v.rng.randint(0, 5),
        "community_id": "1:" + v.b64()[:27] + "=",
        "direction": v.pick(["to_server", "to_client"]),
        "vlan": [v.rng.randint(1, 4000)],
        "ether": {"src_mac": v.mac(), "dest_mac": v.mac()},
    }
    usual = ["src_ip", "src_port", "dest_ip", "dest_port", "proto"]
    brief = v.chance(0.4)  # short events teach the rule with less to read
    for key in usual:
        if v.chance(0.35 if brief else 0.92) or key == "src_ip":
            outer[key] = maybe[key]
    for key in v.rng.sample([k for k in maybe if k not in usual], 0 if brief else v.rng.randint(0, 4)):
        outer[key] = maybe[key]
    outer |= event
    if v.chance(0.07):
        del outer["timestamp"]
    return outer


def signature(v, category, which):
    subject = v.fill(v.pick(part(SUBJECTS[category], which)))
    if category == "network" and v.chance(0.6):
        return f"SURICATA {subject}"
    words = CLASS_WORDS.get(category)
    if not words:
        return f"{v.pick(['ET', 'GPL', 'LOCAL', 'CUSTOM'])} {subject}"
    return f"{v.pick(['ET', 'ET', 'ET', 'GPL', 'ETPRO'])} {v.pick(words)} {subject}"


def alert(v, which):
    classification = v.pick(list(CLASSES))
    category, usual = CLASSES[classification]
    level = usual if v.chance(0.65) else v.pick([1, 2, 3, 3, 4, 255])
    named = v.chance(0.88)
    # The signature agrees with the classification nearly always; where not, the classification decides.
    sig_category = category if v.chance(0.93) or not named else v.pick(list(SUBJECTS))
    if not named and category not in CLASS_WORDS:
        named = True
    body = {"severity": level, "signature": signature(v, sig_category, which)}
    if named:
        body["category"] = classification
        if v.chance(0.07):
            del body["signature"]
    severity = {1: "high", 2: "medium", 3: "low"}.get(level, "info")
    extra = {
        "gid": 1,
        "signature_id": v.rng.randint(2000000, 2060000),
        "rev": v.rng.randint(1, 12),
        "metadata": metadata(v),
        "action": v.pick(["allowed", "allowed", "blocked"]),
        "xff": v.ip4(),
    }
    brief = v.chance(0.4)
    for key in v.rng.sample(list(extra), v.rng.randint(0, 2) if brief else v.rng.randint(1, 5)):
        body[key] = extra[key]
    if level == 1:
        marked = "Critical" in body.get("metadata", {}).get("signature_severity", [])
        if marked or (named and classification in ALWAYS_CRITICAL):
            severity = "critical"
    if category == "policy" and severity in ("high", "critical"):
        severity = "medium"
    event = {"event_type": "alert", "alert": shuffled(v, body)}
    stopped = body.get("action") == "blocked"
    if not stopped and v.chance(0.05):
        event["verdict"] = {"action": "drop"}
        stopped = True
    if stopped and severity in ("critical", "high", "medium"):
        severity = LEVELS[LEVELS.index(severity) - 1]
    if not brief:
        distract(v, event)
    return event, verdict(severity, category, v.pick(REASONS[category]), True, stopped)


def metadata(v):
    data = {
        "created_at": [v.date()[:10].replace("-", "_")],
        "updated_at": [v.date()[:10].replace("-", "_")],
        "attack_target": [v.pick(["Client_Endpoint", "Server", "Web_Server", "Networking_Equipment"])],
        "affected_product": [v.pick(["Any", "Linux", "Web_Server_Applications"])],
        "deployment": [v.pick(["Perimeter", "Internal", "Datacenter"])],
        "signature_severity": [v.pick(["Informational", "Minor", "Major", "Critical"])],
        "tag": [v.word()],
    }
    return {key: data[key] for key in v.rng.sample(list(data), v.rng.randint(1, 4))}


def distract(v, event):
    """Protocol objects that ride along with an alert and do not change its label."""
    if v.chance(0.4):
        event["flow"] = {"pkts_toserver": v.small(), "pkts_toclient": v.small(), "bytes_toserver": v.num(), "bytes_toclient": v.num()}
    if v.chance(0.3):
        event["app_proto"] = v.pick(["http", "tls", "dns", "ssh", "smb", "failed", "ftp", "smtp"])
    if v.chance(0.25):
        event["http"] = {"hostname": v.domain(), "url": v.urlpath(), "http_user_agent": v.agent(), "http_method": v.pick(["GET", "POST"]), "status": v.pick([200, 404, 301, 403, 500])}
    elif v.chance(0.15):
        event["tls"] = {"sni": v.domain(), "version": "TLS 1.2"}
    if v.chance(0.1):
        event["payload_printable"] = v.req()


def shuffled(v, items):
    pairs = list(items.items())
    if v.chance(0.6):
        v.rng.shuffle(pairs)
    return dict(pairs)


def random_label(v):
    alphabet = v.pick(["0123456789abcdef", "abcdefghijklmnopqrstuvwxyz234567", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP0123456789"])
    return "".join(v.rng.choices(alphabet, k=v.rng.randint(30, 60)))


def dns(v, which):
    query = v.rng.random() < 0.6
    body = {"type": "query" if query else "answer", "id": v.rng.randint(1, 65535), "rrname": v.domain(), "rrtype": v.pick(["A", "AAAA", "A", "MX", "PTR", "TXT", "HTTPS", "SRV", "CNAME"])}
    if not query:
        body["rcode"] = v.pick(["NOERROR", "NOERROR", "NXDOMAIN"])
        if body["rcode"] == "NOERROR" and v.chance(0.6):
            body["answers"] = [{"rrname": body["rrname"], "rrtype": body["rrtype"], "ttl": v.num(), "rdata": v.ip4()}]
    r = v.rng.random()
    result = verdict("info", "network", v.pick(["An ordinary DNS query.", "Routine DNS traffic."]))
    if r < 0.25:
        body["rrname"] = f"{random_label(v)}{'.' + random_label(v) if v.chance(0.3) else ''}.{v.domain()}"
        body["rrtype"] = v.pick(["TXT", "TXT", "NULL", "A", "CNAME", "MX"])
        body.pop("answers", None)
        result = verdict("high", "exfiltration", "The DNS name looks like a tunnel.", True)
    elif r < 0.42:
        body["rrname"] = mining_name(v)
        body.pop("answers", None)
        result = verdict("high", "malware", "A mining pool was looked up.", True)
    elif r < 0.52:
        body["rrname"] = f"{v.madeup()}{v.hex4()}{v.madeup()}.onion"
        body.pop("answers", None)
        result = verdict("medium", "policy", "A Tor name was looked up.", True)
    elif r < 0.58:
        # Ordinary names that only look odd: long words, reverse lookups, numbered hosts.
        body["rrname"] = v.pick([f"{v.digits(2)}.{v.digits(2)}.168.192.in-addr.arpa", f"_{v.word()}._tcp.{v.domain()}", f"{v.word()}-{v.word()}-{v.hex4()}.{v.domain()}", f"{v.hex4()}{v.digits(4)}.cdn.{v.domain()}"])
        body.pop("answers", None)
    if v.chance(0.3):
        body["tx_id"] = 0
    return {"event_type": "dns", "dns": shuffled(v, body)}, result


def mining_name(v):
    return v.pick(MINING).replace("{d}", v.domain()).replace("{w}", v.word())


def http(v, which):
    asked = request(v, which)
    body = {
        "hostname": v.domain(),
        "url": asked["url"],
        "http_user_agent": asked["agent"],
        "http_method": asked["method"],
        "protocol": "HTTP/1.1",
        "status": asked["status"],
        "length": v.num(),
    }
    result = asked["verdict"]
    if v.chance(0.18):
        body["url"] = f"/{v.word()}{v.pick(PROGRAM_ENDS)}"
        body["http_user_agent"] = v.version_in(v.pick(DOWNLOADERS))
        body["status"] = 200
        body["http_method"] = "GET"
        if v.chance(0.5):
            body["hostname"] = v.ip4()
        result = verdict("high", "malware", "A program was downloaded by a script.", True)
    elif asked["plain"] and v.chance(0.15):
        # A browser that fetches a program, as people do.
        body["url"] = f"/{v.word()}/{v.word()}{v.pick(PROGRAM_ENDS)}"
        body["http_user_agent"] = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{v.small()}.0 Safari/537.36"
    if v.chance(0.3):
        body["http_content_type"] = v.pick(["text/html", "application/json", "image/png", "application/octet-stream"])
    if v.chance(0.3):
        body["http_port"] = v.port()
    return {"event_type": "http", "http": shuffled(v, body)}, result


def tls(v, which):
    name = v.domain()
    body = {"subject": f"CN={name}", "issuerdn": f"C=US, O={v.pick(['Let' + chr(39) + 's Encrypt', 'DigiCert Inc', 'Google Trust Services', 'GlobalSign'])}, CN={v.pick(['R3', 'R10', 'E5', 'WR2'])}", "sni": name, "version": v.pick(["TLS 1.2", "TLS 1.3"]), "notbefore": v.iso()[:19], "notafter": v.iso()[:19]}
    result = verdict("info", "network", v.pick(["An ordinary TLS connection.", "Routine TLS traffic."]))
    r = v.rng.random()
    if r < 0.2:
        body["version"] = v.pick(["TLSv1", "TLS 1.0", "TLS 1.1", "SSLv3", "SSLv2", "TLSv1.1", "SSL 3.0"])
        result = verdict("low", "policy", "An obsolete TLS version is in use.", True)
    elif r < 0.38:
        body["issuerdn"] = body["subject"] = v.pick([f"CN={name}", f"C=XX, L=Default City, O=Default Company Ltd, CN={v.word()}", f"O={v.Word()}, CN={v.lan()}"])
        result = verdict("low", "policy", "A self-signed certificate is in use.", True)
    elif r < 0.48:
        body["sni"] = mining_name(v)
        body.pop("subject")
        result = verdict("high", "malware", "A connection to a mining pool.", True)
    elif r < 0.55:
        body["sni"] = v.pick([f"{v.madeup()}{v.hex4()}.onion", "www.torproject.org", "bridges.torproject.org"])
        body.pop("subject")
        result = verdict("medium", "policy", "A connection to Tor.", True)
    for key in ("notbefore", "notafter"):
        if v.chance(0.6):
            del body[key]
    if v.chance(0.4):
        body["fingerprint"] = ":".join(f"{v.rng.randint(0, 255):02x}" for _ in range(20))
    if v.chance(0.3):
        body["ja3"] = {"hash": f"{v.rng.getrandbits(128):032x}"}
    return {"event_type": "tls", "tls": shuffled(v, body)}, result


def ssh(v, which):
    good = ["OpenSSH_8.9p1 Ubuntu-3ubuntu0.{m}", "OpenSSH_9.{m}", "OpenSSH_7.{m}", "PuTTY_Release_0.7{m}", "libssh2_1.1{m}.0", "WinSCP_release_5.{m}", "OpenSSH_for_Windows_8.{m}", "FileZilla_3.6{m}.0", "dropbear_2020.8{m}", "OpenSSH_9.2p1 Debian-2+deb12u{m}"]
    bad = ["zgrab", "ZGrab ZGrab SSH Survey", "masscan_1.3", "Nmap-SSH2-Hostkey", "libssh_0.9.{m}", "libssh_0.10.{m}", "paramiko_2.{m}.0", "Go", "JSCH-0.1.5{m}", "AsyncSSH_2.1{m}.0", "paramiko_3.{m}.0", "libssh-0.{m}.1"]
    scanner = v.chance(0.45)
    client = v.version_in(v.pick(bad if scanner else good))
    body = {
        "client": {"proto_version": "2.0", "software_version": client},
        "server": {"proto_version": "2.0", "software_version": v.version_in(v.pick(good[:3]))},
    }
    if v.chance(0.25):
        del body["server"]
    result = verdict("low", "recon", "A scripted SSH client.", True) if scanner else verdict("info", "network", "An ordinary SSH connection.")
    return {"event_type": "ssh", "ssh": body}, result


def fileinfo(v, which):
    program = v.chance(0.45)
    magics = ["ELF 64-bit LSB executable, x86-64, version 1 (SYSV), statically linked", "PE32 executable (GUI) Intel 80386, for MS Windows", "PE32+ executable (console) x86-64, for MS Windows", "ELF 32-bit LSB executable, ARM, EABI5", "ELF 64-bit LSB shared object executable"]
    tame = ["HTML document, ASCII text", "PNG image data, 1200 x 630", "JPEG image data", "PDF document, version 1.5", "JSON data", "ASCII text", "Zip archive data", "gzip compressed data", "XML 1.0 document", "Microsoft Word 2007+"]
    ends = [".html", ".png", ".jpg", ".pdf", ".json", ".txt", ".css", ".js", ".docx", ".csv", ".svg", ".zip", ".woff2", ".mp4"]
    body = {"filename": f"/{v.word()}{v.pick(PROGRAM_ENDS if program and v.chance(0.75) else ['', '/' + v.word()] if program else ends)}", "gaps": False, "state": v.pick(["CLOSED", "TRUNCATED"]), "stored": v.chance(0.2), "size": v.num(), "tx_id": 0}
    named = body["filename"].endswith(tuple(PROGRAM_ENDS))
    if not program and v.chance(0.6):
        body["magic"] = v.pick(tame)
    if program and (not named or v.chance(0.6)):
        body["magic"] = v.pick(magics)
    if v.chance(0.3):
        body["md5"] = f"{v.rng.getrandbits(128):032x}"
    if v.chance(0.3):
        body["sha256"] = f"{v.rng.getrandbits(256):064x}"
    result = verdict("medium", "malware", "A program crossed the network.", True) if program else verdict("info", "web", "An ordinary file transfer.")
    event = {"event_type": "fileinfo", "fileinfo": shuffled(v, body)}
    if v.chance(0.4):
        event["http"] = {"hostname": v.domain(), "http_method": "GET", "status": 200}
    if v.chance(0.3):
        event["app_proto"] = "http"
    return event, result


def flow(v, which):
    size = v.pick(["small", "small", "large", "huge"])
    sent = {"small": v.rng.randint(60, 10 ** v.rng.randint(3, 8) - 1) if v.chance(0.7) else v.rng.randint(10**7, 10**8 - 1), "large": v.rng.randint(10**8, 10**9 - 1), "huge": v.rng.randint(10**9, 10 ** v.rng.randint(10, 12))}[size]
    body = {"pkts_toserver": v.num(), "pkts_toclient": v.num(), "bytes_toserver": sent, "bytes_toclient": v.rng.randint(0, 10 ** v.rng.randint(3, 11)), "start": v.eve_time(), "end": v.eve_time(), "age": v.small(), "state": v.pick(["closed", "new", "established", "bypassed"]), "reason": v.pick(["timeout", "shutdown", "forced"]), "alerted": False}
    for key in v.rng.sample(["pkts_toserver", "pkts_toclient", "bytes_toclient", "start", "end", "age", "state", "reason", "alerted"], v.rng.randint(0, 6)):
        del body[key]
    result = {
        "small": verdict("info", "network", v.pick(["An ordinary flow.", "Routine traffic."])),
        "large": verdict("medium", "exfiltration", "A large upload left the network.", True),
        "huge": verdict("high", "exfiltration", "A very large upload left the network.", True),
    }[size]
    return {"event_type": "flow", "app_proto": v.pick(["tls", "http", "ssh", "failed", "dns", "smb"]), "flow": shuffled(v, body)}, result


def other(v, which):
    kind = v.pick(["anomaly", "anomaly", "drop", "stats"])
    if kind == "stats":
        return {"event_type": "stats", "stats": {"uptime": v.num(), "capture": {"kernel_packets": v.num(), "kernel_drops": v.small()}, "decoder": {"pkts": v.num(), "bytes": v.num()}}}, verdict("info", "network", "Counters of Suricata.")
    if kind == "drop":
        return {"event_type": "drop", "drop": {"len": v.num(), "tos": 0, "ttl": v.small(), "ipid": v.num(), "reason": v.pick(["stream midstream", "flow drop", "rules", "applayer error"])}}, verdict("low", "network", "A packet was dropped.", True)
    body = {"type": v.pick(["decode", "stream", "applayer"]), "event": v.pick(["decoder.ipv4.trunc_pkt", "stream.pkt_invalid_ack", "APPLAYER_DETECT_PROTOCOL_ONLY_ONE_DIRECTION", "decoder.udp.hlen_invalid", "stream.wrong_thread", "INVALID_RECORD_TYPE", "stream.reassembly_overlap_different_data", "UNABLE_TO_MATCH_RESPONSE_TO_REQUEST", "decoder.tcp.opt_invalid_len"]), "layer": v.pick(["proto_parser", "proto_detect"]), "code": v.small()}
    return {"event_type": "anomaly", "anomaly": shuffled(v, body)}, verdict("low", "network", "A malformed packet.", True)


PRIORITY = {"Emergency": "critical", "Alert": "critical", "Critical": "critical", "Error": "high", "Warning": "medium", "Notice": "low", "Informational": "info", "Debug": "info"}


def load_falco():
    """[(category, rule, outputs)]"""
    rules, category = [], None
    for line in (HERE / "events" / "falco.rules").read_text().splitlines():
        if line.startswith("= "):
            category = line[2:]
        elif line and not line.startswith("#"):
            name, *outputs = line.split(" | ")
            rules.append((category, name, outputs))
    return rules


FALCO = load_falco()
FALCO_REASONS = {
    "privilege": ["A process used rights it should not have.", "Signs of privilege abuse."],
    "malware": ["Signs of malicious code.", "A program behaves like malware."],
    "integrity": ["Something that should not change was changed.", "A protected part of the system was changed."],
    "exfiltration": ["Data may be leaving the host.", "Data was sent out."],
    "recon": ["A tool for scanning or searching was used.", "Somebody is looking around."],
    "network": ["An unexpected connection.", "Unusual network traffic of a process."],
    "service": ["A routine message of Falco.", "Ordinary life of containers or of Falco."],
}


def falco(v, which):
    by_category = {}
    for category, name, outputs in part(FALCO, which):
        by_category.setdefault(category, []).append((name, outputs))
    category = v.pick(list(by_category))
    name, outputs = v.pick(by_category[category])
    priority = v.pick(list(PRIORITY))
    output = v.fill(v.pick(outputs)) + details(v)
    result = verdict(PRIORITY[priority], category, v.pick(FALCO_REASONS[category]))
    time = v.hms() + "." + v.digits(9)
    text = f"{time}: {priority} {output}"
    if v.chance(0.2):
        return text if v.chance(0.6) else f"{v.sys_time()} {v.host()} falco[{v.pid()}]: {text}", result
    event = {"priority": priority, "rule": name}
    extra = {
        "output": text if v.chance(0.7) else output,
        "time": f"{v.date().replace(' ', 'T')}.{v.digits(9)}Z",
        "source": v.pick(["syscall", "syscall", "k8s_audit"]),
        "hostname": v.host(),
        "tags": v.rng.sample(["container", "shell", "mitre_execution", "process", "filesystem", "network", "mitre_persistence", "T1059", "host", "maturity_stable"], v.rng.randint(1, 4)),
        "output_fields": fields(v),
        "uuid": v.uuid(),
    }
    for key in v.rng.sample(list(extra), v.rng.randint(1, 6)):
        event[key] = extra[key]
    # The rule alone is enough, and so is the output: one of them may be missing.
    if "output" in event and v.chance(0.12):
        del event["rule"]
    return event, result


def details(v):
    parts = [f"user={v.user()}", f"user=root user_loginuid=-1", f"container_id={v.hex()}", f"image={v.prog()}:{v.ver()}", f"k8s.pod={v.word()}-{v.hex4()}", f"command={v.cmd()}", f"parent={v.prog()}", f"proc_exepath={v.bin()}", f"terminal={v.num()}", f"container_name={v.word()}", f"k8s.ns={v.word()}", f"pid={v.pid()}"]
    chosen = v.rng.sample(parts, v.rng.randint(1, 5))
    return f" ({' '.join(chosen)})" if v.chance(0.6) else " | " + " ".join(chosen)


def fields(v):
    values = {"proc.name": v.prog(), "proc.pname": v.prog(), "user.name": v.user(), "container.id": v.hex(), "fd.name": v.path(), "proc.cmdline": v.cmd(), "container.image.repository": v.prog(), "evt.time": v.num(), "k8s.ns.name": v.word(), "user.uid": v.uid(), "proc.tty": v.num()}
    return {key: values[key] for key in v.rng.sample(list(values), v.rng.randint(1, 6))}


