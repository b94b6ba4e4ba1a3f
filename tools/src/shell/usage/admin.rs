//! All options of the programs that administer: packages, servers, the network, processes, git.
//!
//! The notation is that of `table.rs`.

use super::Operands::Words;
use super::table::Row;

pub(super) const ADMIN_ROWS: &[Row] = &[
    // Packages. The letters of apt mean the same for each of its verbs but for `-f`, `-a` and `-n`.
    (
        "apt apt-get",
        Words,
        "yes=y assume-yes assume-no quiet=q -=0123456789 simulate=s just-print dry-run recon no-act
         download-only=d fix-broken=f! fix-missing=m! ignore-missing! no-download show-upgraded=u
         verbose-versions=V host-architecture: install-recommends no-install-recommends
         install-suggests no-install-suggests ignore-hold! no-upgrade only-upgrade
         allow-downgrades! allow-remove-essential! allow-change-held-packages! force-yes! print-uris
         purge! reinstall! target-release=t: default-release: no-remove autoremove! auto-remove!
         autopurge! allow-unauthenticated! allow-insecure-repositories! allow-releaseinfo-change!
         no-allow-insecure-repositories with-source:! error-on: option=o:! config-file=c:! installed
         upgradable upgradeable manual-installed all-versions=a names-only=n full no-show-progress
         show-progress no-strict-pinning! solver:! update=U",
    ),
    (
        "dnf yum dnf5",
        Words,
        "assumeyes=y assumeno quiet=q verbose=v best=b nobest cacheonly=C refresh skip-broken
         exclude=x: excludepkgs: enablerepo: disablerepo: enable-repo: disable-repo: security bugfix
         enhancement newpackage advisory: cve: sec-severity: setopt=s:! config=c:! installroot:!
         releasever:! nogpgcheck! no-gpgchecks! allowerasing! downloadonly noautoremove installed
         available upgrades updates extras obsoletes all recent repo:! repoid:! repofrompath:!
         forcearch:! debuglevel=d: errorlevel=e: color: comment: showduplicates noplugins
         enableplugin:! disableplugin:! destdir:! downloaddir:! rpmverbosity: -46",
    ),
    (
        "zypper",
        Words,
        "non-interactive=n no-confirm=y quiet=q verbose=v details=s no-color terse type=t: no-recommends
         recommends auto-agree-with-licenses=l dry-run=D download-only name=N installed-only=i
         not-installed-only=u uninstalled-only repo=r:! from:! force=f! force-resolution=R!
         oldpackage! replacefiles! gpg-auto-import-keys! no-gpg-checks! allow-unsigned-rpm!
         allow-downgrade! allow-vendor-change! root:! installroot:! plus-repo=p:! plus-content:!
         match-exact match-substrings match-words search-descriptions=d sort-by-name provides
         requires xmlout=x",
    ),
    (
        "apk",
        Words,
        "quiet=q verbose=v interactive=i no-cache no-progress no-network simulate=s upgrade=u
         latest=l update-cache=U available=a installed=I all description=d exact=e wait:
         force=f! allow-untrusted! purge! root=p:! repository=X:! repositories-file:! keys-dir:!
         arch:! initdb! virtual=t: contents=L who-owns=W webpage=w depends=R rdepends=r provides=P size clean-protected! overlay-from-stdin! no-scripts!",
    ),
    // Servers, of which the elevated profile lets their settings be checked: whatever takes a value
    // takes the next word, whether or not it looks like an option.
    ("nginx", Words, "-tTvVqh -s: -p:! -e:! -g:! -c:!"),
    ("sshd", Words, "-tTdDeiqV46G -b: -C: -c:! -E:! -f:! -g: -h:! -k: -o:! -p: -u:"),
    ("haproxy", Words, "-cvVqdWD -f:< -L: -n: -N: -m: -C:! -S:! -x:! -p:> -s: -l:"),
    // What talks to the clock.
    ("chronyc", Words, "-46acdemnvN -h:! -p:! -f:!"),
    ("ntpq", Words, "-46dinpwu -c:!"),
    (
        "date",
        Words,
        "date=d: debug iso-8601:: -I:: rfc-email=R rfc-2822 rfc-822 rfc-3339: reference=r:<
         resolution utc=u universal uct set=s:! file=f:!",
    ),
    // Figures. What may or may not have a value has none here, so that no option is taken for one.
    (
        "sar",
        Words,
        "-ABbCdFHhIijmnPpqrStuVvWwxyzsef0123456789 human pretty dec: iface: dev: fs: int: sadc!
         -o!",
    ),
    (
        "ifstat",
        Words,
        "-aAejlnpqTwWz -i:",
    ),
    // The network.
    (
        "ping ping6",
        Words,
        "-46aACDdhLnOqrRUvVB -c: -F: -I: -m: -M: -N: -p: -Q: -s: -S: -t: -T: -w: -W: -e: -bf! -i:!
         -l:!",
    ),
    (
        "traceroute",
        Words,
        "-46dFITnUDAreV -f: -g: -i: -m: -N: -p: -t: -P: -w: -q: -s: -z: -M: -l: mtu back sport:",
    ),
    ("tracepath", Words, "-46nbV -l: -m: -p:"),
    (
        "mtr",
        Words,
        "report=r report-wide=w report-cycles=c: json=j xml=x csv=C raw=l split=p curses=t gtk=g
         no-dns=n show-ips=b order=o: ipinfo=y: aslookup=z udp=u tcp=T sctp=S address=a:
         interface=I: first-ttl=f: max-ttl=m: max-unknown=U: max-display-path: port=P: localport=L:
         psize=s: bitpattern=B: tos=Q: interval=i:! gracetime=G: timeout=Z: mark=M: mpls=e
         filename=F:! -46",
    ),
    (
        "dig",
        Words,
        "-46hmruv -b: -c: -p: -q: -t: -x: -f:! -k:! -y:!",
    ),
    (
        "host",
        Words,
        "-aACdilnrsTUvVw46 -c: -m: -N: -p:! -R: -t: -W:",
    ),
    (
        "whois",
        Words,
        "host=h:! port=p:! no-recursion -aBbcdFHIKlLmMrRx verbose -g: -i: -q: -s: -t: -T: -v:",
    ),
    (
        "ss",
        Words,
        "numeric=n resolve=r all=a listening=l options=o extended=e memory=m processes=p info=i
         summary=s events=E context=Z contexts=z ipv4=4 ipv6=6 packet=0 tcp=t sctp=S udp=u dccp=d
         raw=w unix=x vsock tipc xdp mptcp=M family=f: query=A: socket: no-header=H oneline=O bpf=b
         tos cgroup threads=T inet-sockopt bound-inactive=B tipcinfo net=N:! kill=K! diag=D:!
         filter=F:!",
    ),
    // Processes.
    (
        "lsof",
        Words,
        "-abCEhHlnNOPQRtUvVwXK -c: -d: -p: -u: -g:: -i:: -f:: -F:: -L:: -o:: -r:: -s:: -S:: -T::
         -x:: -D:! -k:! -m:! -A:! -e:",
    ),
    (
        "fuser",
        Words,
        "all=a list-signals=l mount=m ismountpoint=M inode namespace=n: silent=s user=u verbose=v
         ipv4=4 ipv6=6 -c kill=k! interactive=i! writeonly=w!",
    ),
    // git, by its verbs.
    (
        "git push",
        Words,
        "verbose=v quiet=q set-upstream=u tags follow-tags no-follow-tags all branches dry-run=n
         porcelain progress no-progress verify no-verify thin no-thin atomic no-atomic
         recurse-submodules: no-recurse-submodules signed:: no-signed push-option=o: ipv4=4 ipv6=6
         force=f! force-with-lease::! no-force-with-lease force-if-includes! no-force-if-includes
         delete=d! mirror! prune! repo:! receive-pack:! exec:!",
    ),
    (
        "git branch",
        Words,
        "all=a remotes=r list=l verbose=v quiet=q show-current abbrev:: no-abbrev color:: no-color
         column:: no-column contains: no-contains: merged:: no-merged:: points-at: sort: format:
         ignore-case=i track:: -t no-track copy=c create-reflog set-upstream-to=u: unset-upstream
         omit-empty force=f! delete=d! move=m! -DMC! edit-description!",
    ),
    (
        "git tag",
        Words,
        "list=l annotate=a message=m: file=F:< sign=s no-sign contains: no-contains: merged::
         no-merged:: points-at: sort: format: color:: column:: no-column ignore-case=i omit-empty -n::
         create-reflog cleanup: verify=v! edit=e! local-user=u! force=f! delete=d!",
    ),
    (
        "git fetch",
        Words,
        "all append=a atomic depth: deepen: shallow-since: shallow-exclude: unshallow
         update-shallow dry-run=n porcelain write-fetch-head no-write-fetch-head keep=k multiple!
         auto-maintenance no-auto-maintenance auto-gc no-auto-gc no-tags tags=t jobs=j: quiet=q
         verbose=v progress no-progress ipv4=4 ipv6=6 show-forced-updates no-show-forced-updates
         recurse-submodules:: no-recurse-submodules set-upstream refetch force=f! prune=p!
         prune-tags=P! update-head-ok=u! upload-pack:! server-option=o: refmap:! stdin!
         negotiation-tip:! filter:",
    ),
    (
        "git pull",
        Words,
        "verbose=v quiet=q rebase=r:: no-rebase ff no-ff ff-only commit no-commit edit=e! no-edit
         log:: no-log signoff no-signoff stat no-stat -n squash no-squash strategy=s:!
         strategy-option=X: verify-signatures no-verify-signatures summary no-summary autostash
         no-autostash allow-unrelated-histories verify no-verify cleanup: gpg-sign=S:: no-gpg-sign
         all append=a atomic depth: deepen: shallow-since: shallow-exclude: unshallow update-shallow
         dry-run jobs=j: tags=t no-tags prune=p! force=f! keep=k progress no-progress ipv4=4 ipv6=6
         show-forced-updates no-show-forced-updates recurse-submodules:: no-recurse-submodules
         set-upstream upload-pack:! server-option=o: refmap:! negotiation-tip:!",
    ),
];
