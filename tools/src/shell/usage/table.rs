//! All options of the programs that may be allowed with whatever words they are given.
//!
//! The notation is that of [`super::Spec`]. `...` stands for options that are not written here, and
//! is only for programs that no profile below `privileged` allows; `|` for a program that has its own
//! way with the letters that stand before or behind one with a value; `+` stands behind those that are
//! options only before the first word that is none. A row vouches for what it lists: who adds an
//! option makes less be asked for.

use super::Operands::{self, Copy, Own, Read, Words, Write};

/// The names of programs that take the same words, what they do with those that are no options, and
/// all options.
pub(super) type Row = (&'static str, Operands, &'static str);

// What packs is also what shows the packed.
const GZIP: &str =
    "ascii=a stdout=c to-stdout decompress=d uncompress force=f keep=k list=l no-name=n name=N
    quiet=q recursive=r* rsyncable synchronous suffix=S:/ test=t verbose=v fast best
    license=L -123456789";

const BZIP2: &str =
    "compress=z decompress=d keep=k force=f test=t stdout=c quiet=q verbose=v small=s fast best
    license=L -123456789";

const XZ: &str =
    "compress=z decompress=d uncompress test=t list=l keep=k force=f stdout=c to-stdout
    single-stream no-sparse suffix=S:/ files::! files0::! format=F: check=C: ignore-check
    extreme=e block-size: memlimit-compress: memlimit-decompress: memlimit=M: memory:
    no-adjust threads=T: quiet=q verbose=v no-warn=Q robot -0123456789";

const ZSTD: &str =
    "compress=z decompress=d uncompress keep=k rm force=f stdout=c list=l test=t quiet=q
    verbose=v threads: -T:: -M:: recursive=r* ultra fast:: long:: adapt:: check no-check
    sparse no-sparse content-size no-content-size progress no-progress rsyncable
    single-thread exclude-compressed format: -o:> -D:< patch-from:< output-dir-flat:> output-dir-mirror:>
    trace:> filelist:! -0123456789";

pub(super) const ROWS: &[Row] = &[
    // Text.
    (
        "cat",
        Read(0),
        "show-all=A number-nonblank=b -e show-ends=E number=n squeeze-blank=s -t show-tabs=T -u
         show-nonprinting=v",
    ),
    ("tac", Read(0), "before=b regex=r separator=s:"),
    (
        "nl",
        Read(0),
        "body-numbering=b: section-delimiter=d: footer-numbering=f: header-numbering=h:
         line-increment=i: join-blank-lines=l: number-format=n: no-renumber=p number-separator=s:
         starting-line-number=v: number-width=w:",
    ),
    (
        "head tail",
        Read(0),
        "bytes=c: lines=n: quiet=q silent verbose=v zero-terminated=z -0123456789 follow:: -fF
         max-unchanged-stats: pid:! retry sleep-interval=s:",
    ),
    (
        "wc",
        Read(0),
        "bytes=c chars=m lines=l words=w max-line-length=L total: files0-from:!",
    ),
    (
        "grep egrep fgrep zgrep",
        Read(1),
        "extended-regexp=E fixed-strings=F basic-regexp=G perl-regexp=P regexp=e: file=f:<
         ignore-case=iy no-ignore-case word-regexp=w line-regexp=x null-data=z no-messages=s
         invert-match=v max-count=m: byte-offset=b line-number=n line-buffered with-filename=H
         no-filename=h label: only-matching=o quiet=q silent binary-files: text=a -I
         group-separator: no-group-separator directories=d:* devices=D: recursive=r* dereference-recursive=R* include: exclude:
         exclude-from:< exclude-dir: files-without-match=L files-with-matches=l count=c
         initial-tab=T null=Z before-context=B: after-context=A: context=C: color:: colour::
         binary=U unix-byte-offsets=u -0123456789",
    ),
    (
        "rg",
        Read(1),
        "... regexp=e: file=f:< max-count=m: after-context=A: before-context=B: context=C: glob=g:
         type=t: type-not=T: max-depth=d: threads=j: replace=r: sort: encoding=E: max-columns=M:
         pre:! hostname-bin:! search-zip=z! ignore-file:<",
    ),
    (
        "cut",
        Read(0),
        "bytes=b: characters=c: delimiter=d: fields=f: -n complement only-delimited=s
         output-delimiter: zero-terminated=z",
    ),
    ("paste", Read(0), "delimiters=d: serial=s zero-terminated=z"),
    (
        "join",
        Read(0),
        "-a: -e: ignore-case=i -j: -o: -t: -v: -1: -2: check-order nocheck-order header
         zero-terminated=z",
    ),
    (
        "comm",
        Read(0),
        "-123 check-order nocheck-order output-delimiter: total zero-terminated=z",
    ),
    (
        "cmp",
        Read(0),
        "print-bytes=b ignore-initial=i: verbose=l bytes=n: quiet=s silent",
    ),
    (
        "diff",
        Read(0),
        "normal brief=q report-identical-files=s context:: -c -C: unified:: -u -U: ed=e rcs=n
         side-by-side=y width=W: left-column suppress-common-lines show-c-function=p
         show-function-line=F: label=L: expand-tabs=t initial-tab=T tabsize: suppress-blank-empty
         paginate=l! recursive=r no-dereference new-file=N unidirectional-new-file=P
         ignore-file-name-case no-ignore-file-name-case exclude=x: exclude-from=X:<
         starting-file=S: from-file:< to-file:< ignore-case=i ignore-tab-expansion=E
         ignore-trailing-space=Z ignore-space-change=b ignore-all-space=w ignore-blank-lines=B
         ignore-matching-lines=I: text=a strip-trailing-cr ifdef=D: minimal=d horizon-lines:
         speed-large-files=H color:: palette: -0123456789",
    ),
    (
        "sort",
        Read(0),
        "ignore-leading-blanks=b dictionary-order=d ignore-case=f general-numeric-sort=g
         human-numeric-sort=h ignore-nonprinting=i month-sort=M numeric-sort=n random-sort=R
         random-source:< reverse=r sort: version-sort=V batch-size: check:: -cC
         compress-program:! debug files0-from:! key=k: merge=m output=o:> stable=s buffer-size=S:
         field-separator=t: temporary-directory=T:> parallel: unique=u zero-terminated=z",
    ),
    (
        "uniq",
        Own,
        "count=c repeated=d -D all-repeated:: skip-fields=f: group:: ignore-case=i skip-chars=s:
         unique=u zero-terminated=z check-chars=w: -0123456789",
    ),
    (
        "column",
        Read(0),
        "table=t separator=s: output-separator=o: output-width=c: fillrows=x table-name=n: json=J
         table-columns=N: table-right=R: table-truncate=T: table-wrap=W: table-noextreme=E:
         table-hide=H: table-order=O: table-noheadings=d table-maxout=m table-header-repeat=e
         keep-empty-lines=L table-columns-limit=l: table-header-as-columns=K tree=r: tree-id=i:
         tree-parent=p:",
    ),
    ("fold", Read(0), "bytes=b characters=c spaces=s width=w: -0123456789"),
    ("rev", Read(0), "zero=0"),
    (
        "tr",
        Words,
        "complement=cC delete=d squeeze-repeats=s truncate-set1=t",
    ),
    ("expand unexpand", Read(0), "initial=i tabs=t: all=a first-only"),
    (
        "numfmt",
        Words,
        "debug delimiter=d: field: format: from: from-unit: grouping header:: invalid: padding:
         round: suffix: to: to-unit: unit-separator: zero-terminated=z",
    ),
    (
        "strings",
        Read(0),
        "all=a data=d print-file-name=f bytes=n: radix=t: -o include-all-whitespace=w target=T:
         encoding=e: output-separator=s: unicode=U: -0123456789",
    ),
    (
        "xxd",
        Own,
        "| -abCdDeEiprRuv -c: -g: -l: -n: -o: -s:",
    ),
    (
        "od",
        Read(0),
        "address-radix=A: endian: skip-bytes=j: read-bytes=N: strings:: -S: format=t:
         output-duplicates=v width:: -w:: traditional -aBbcDdeFfHhIiLlOosXx",
    ),
    (
        "hexdump",
        Read(0),
        "one-byte-octal=b one-byte-hex=X one-byte-char=c canonical=C two-bytes-decimal=d
         two-bytes-octal=o two-bytes-hex=x color:: format=e: format-file=f:< length=n: skip=s:
         no-squeezing=v",
    ),
    ("base64 base32", Read(0), "decode=d -D ignore-garbage=i wrap=w:"),
    (
        "jq",
        Read(1),
        "null-input=n raw-input=R slurp=s compact-output=c raw-output=r raw-output0 join-output=j
         ascii-output=a sort-keys=S color-output=C monochrome-output=M tab indent: unbuffered
         stream stream-errors seq exit-status=e arg; argjson; slurpfile;! rawfile;! args! jsonargs!
         from-file=f! library-path=L:!",
    ),
    ("zcat", Read(0), GZIP),
    ("bzcat", Read(0), BZIP2),
    ("xzcat", Read(0), XZ),
    ("zstdcat", Read(0), ZSTD),
    // Facts about files.
    (
        "ls",
        Read(0),
        "all=a almost-all=A author escape=b block-size: ignore-backups=B -cCfgFlmoptUxXSu1 color::
         directory=d dired=D classify:: file-type full-time format: group-directories-first
         no-group=G human-readable=h si dereference-command-line=H
         dereference-command-line-symlink-to-dir hide: hyperlink:: indicator-style: inode=i
         ignore=I: kibibytes=k dereference=L numeric-uid-gid=n literal=N hide-control-chars=q
         show-control-chars quote-name=Q quoting-style: reverse=r recursive=R size=s sort: time:
         time-style: tabsize=T: -v width=w: context=Z zero",
    ),
    (
        "stat",
        Read(0),
        "dereference=L file-system=f cached: format=c: printf: terse=t",
    ),
    (
        "file",
        Read(0),
        "brief=b checking-printout=c exclude=e: exclude-quiet: files-from=f:! separator=F:
         no-dereference=h mime=i mime-type mime-encoding extension apple keep-going=k list=l
         dereference=L magic-file=m:! no-buffer=n no-pad=N preserve-date=p parameter=P: raw=r
         special-files=s! compile=C! print0=0 debug=d",
    ),
    (
        "du",
        Read(0),
        "null=0 all=a apparent-size block-size=B: bytes=b total=c dereference-args=DH max-depth=d:
         files0-from:! human-readable=h inodes -km dereference=L count-links=l no-dereference=P
         separate-dirs=S si summarize=s threshold=t: time:: time-style: exclude-from=X:< exclude:
         one-file-system=x",
    ),
    (
        "df",
        Read(0),
        "all=a block-size=B: human-readable=h si -Hkmv inodes=i local=l no-sync output::
         portability=P sync total type=t: print-type=T exclude-type=x:",
    ),
    (
        "md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum",
        Read(0),
        "binary=b check=c tag text=t zero=z ignore-missing quiet status strict warn=w algorithm=a:
         base64 debug raw untagged length=l:",
    ),
    (
        "readlink",
        Read(0),
        "canonicalize=f canonicalize-existing=e canonicalize-missing=m no-newline=n quiet=q
         silent=s verbose=v zero=z",
    ),
    (
        "realpath",
        Read(0),
        "canonicalize=E canonicalize-existing=e canonicalize-missing=m logical=L physical=P quiet=q
         relative-to: relative-base: strip=s no-symlinks zero=z",
    ),
    (
        "tree",
        Read(0),
        "| -AaCDdfFghiJlNnpQqrSstUuvcXx du prune noreport dirsfirst filesfirst inodes device
         matchdirs ignore-case si charset: sort:: timefmt: filelimit: -L: -P: -I: -H: -T: -o:>
         -R! fromfile! fromtabfile! gitignore! gitfile:! info! infofile:!",
    ),
    ("namei", Read(0), "long=l modes=m nosymlinks=n owners=o vertical=v mountpoints=x context=Z"),
    (
        "getfacl",
        Read(0),
        "access=a default=d omit-header=c all-effective=e no-effective=E skip-base=s recursive=R
         logical=L physical=P tabular=t absolute-names=p numeric=n -v",
    ),
    ("lsattr", Read(0), "-RVadlvp"),
    ("sync", Read(0), "data=d file-system=f"),
    // Files that are changed.
    (
        "cp",
        Copy,
        "archive=a* attributes-only! backup:: -b copy-contents! -d debug force=f interactive=i
         -H link=l dereference=L no-clobber=n no-dereference=P -p preserve:: no-preserve: parents!
         recursive=rR* reflink:: remove-destination sparse: strip-trailing-slashes symbolic-link=s
         suffix=S:/ target-directory=t: no-target-directory=T update:: -u verbose=v
         one-file-system=x context:: -Z",
    ),
    (
        "mv",
        Copy,
        "backup:: -b debug exchange! force=f interactive=i no-clobber=n no-copy
         strip-trailing-slashes suffix=S:/ target-directory=t: no-target-directory=T update:: -u
         verbose=v context=Z",
    ),
    (
        "ln",
        Copy,
        "backup:: -b directory=dF force=f interactive=i logical=L no-dereference=n physical=P
         relative=r symbolic=s suffix=S:/ target-directory=t: no-target-directory=T verbose=v",
    ),
    ("link", Copy, ""),
    ("unlink", Write(0), ""),
    (
        "install",
        Copy,
        "backup:: -bcCDpsv compare directory=d group=g: mode=m: owner=o: preserve-timestamps strip
         strip-program:! suffix=S:/ target-directory=t: no-target-directory=T verbose context:: -Z",
    ),
    (
        "rsync",
        Copy,
        "... archive=a* -e:! filter=f: -B: -M: -T: files-from:! log-file:>",
    ),
    ("scp", Copy, "... -r* -F: -i: -P: -S:! -o:! -c: -l: -J:"),
    ("mkdir", Write(0), "mode=m: parents=p verbose=v context:: -Z"),
    ("rmdir", Write(0), "ignore-fail-on-non-empty parents=p verbose=v"),
    (
        "touch",
        Write(0),
        "-a no-create=c date=d: -f no-dereference=h -m reference=r: -t: time:",
    ),
    (
        "rm",
        Write(0),
        "force=f -iI interactive:: one-file-system no-preserve-root! preserve-root::
         recursive=rR* dir=d verbose=v",
    ),
    (
        "sed",
        Own,
        "quiet=n silent expression=e: file=f:! in-place=i::/ regexp-extended=rE separate=s
         unbuffered=u null-data=z zero-terminated line-length=l: posix sandbox debug
         follow-symlinks!",
    ),
    (
        "awk gawk mawk nawk",
        Own,
        "field-separator=F: assign=v: file=f:!",
    ),
    ("tee", Write(0), "append=a ignore-interrupts=i -p output-error::"),
    (
        "chmod",
        Write(1),
        "changes=c quiet=f silent verbose=v recursive=R* reference:! preserve-root
         no-preserve-root! dereference no-dereference=h -HLP -rwxXstugoa+=,01234567",
    ),
    (
        "chown chgrp",
        Write(1),
        "changes=c quiet=f silent verbose=v dereference no-dereference=h from: preserve-root
         no-preserve-root! reference: recursive=R* -HLP",
    ),
    ("truncate", Write(0), "no-create=c io-blocks=o reference=r: size=s:"),
    (
        "mktemp",
        Write(0),
        "directory=d dry-run=u quiet=q suffix:/ -p:> tmpdir::> -t",
    ),
    (
        "gzip gunzip",
        Write(0),
        GZIP,
    ),
    (
        "bzip2 bunzip2",
        Write(0),
        BZIP2,
    ),
    (
        "xz unxz",
        Write(0),
        XZ,
    ),
    (
        "zstd unzstd",
        Write(0),
        ZSTD,
    ),
    (
        "split",
        Own,
        "suffix-length=a: additional-suffix:/ bytes=b: line-bytes=C: numeric-suffixes:: -d
         hex-suffixes:: -x elide-empty-files=e filter:! lines=l: number=n: separator=t: unbuffered=u
         verbose -0123456789",
    ),
    (
        "csplit",
        Own,
        "... prefix=f: suffix-format=b:/ digits=n:",
    ),
    (
        "tar",
        Own,
        "create=c extract=x get list=t append=r update=u diff=d compare catenate=A concatenate
         delete file=f: directory=C: add-file: exclude: exclude-from=X:< exclude-vcs
         exclude-backups exclude-caches exclude-caches-all exclude-caches-under exclude-tag:
         exclude-tag-all: exclude-tag-under: verbose=v gzip=z gunzip ungzip bzip2=j xz=J lzma lzip
         lzop zstd compress=Z uncompress auto-compress=a no-auto-compress preserve-permissions=p
         same-permissions same-owner no-same-owner -o numeric-owner no-same-permissions
         strip-components: keep-old-files=k keep-newer-files skip-old-files unlink-first=U
         remove-files wildcards no-wildcards wildcards-match-slash no-wildcards-match-slash anchored
         no-anchored ignore-case no-ignore-case null no-null overwrite overwrite-dir
         no-overwrite-dir keep-directory-symlink! one-file-system one-top-level:: dereference=h hard-dereference
         verify=W totals:: checkpoint:: sparse=S format=H: owner: group: mode: mtime: newer=N:
         after-date: newer-mtime: sort: no-recursion recursion label=V: blocking-factor=b:
         record-size: tape-length=L:! listed-incremental=g:> incremental=G level: index-file:>
         volno-file:> to-stdout=O ignore-zeros=i ignore-failed-read block-number=R acls xattrs
         selinux no-acls no-xattrs no-selinux show-defaults show-omitted-dirs utc full-time warning:
         touch=m delay-directory-restore occurrence:: starting-file=K: atime-preserve:: posix
         check-links=l read-full-records=B quoting-style: force-local clamp-mtime no-seek seek=n
         absolute-names=P! files-from=T:! transform:! xform:! use-compress-program=I:! to-command:!
         checkpoint-action:! info-script=F:! new-volume-script:! rmt-command:! rsh-command:!
         multi-volume=M! suffix:/ backup::",
    ),
    (
        "zip",
        Own,
        "recurse-paths=r quiet=q junk-paths=j encrypt=e verbose=v update=u move=m no-extra=X
         latest-time=o adjust-sfx=A symlinks=y to-crlf=l from-crlf entries=D grow=g exclude=x,
         include=i, output-file=O:> out:> temp-path=b:> logfile-path:> password=P: test=T!
         unzip-command:! names-stdin=@! -0123456789",
    ),
    // A letter that it takes back, as in `-l-l`, is none of these. Those of `-Z` are `zipinfo`'s.
    (
        "unzip",
        Own,
        "list=l test=t -vznoqjabBCfuLMNpcUVWXyYZ12mhs -P: -O: -I: + -d: -x,",
    ),
    // Files that are changed, by programs that only people are allowed.
    ("shred", Write(0), "... iterations=n: size=s: random-source:<"),
    ("srm sponge mkswap dos2unix", Write(0), "..."),
    ("chattr", Write(1), "... recursive=R*"),
    ("setfacl", Write(0), "... recursive=R* modify=m: remove=x: -M:< -X:<"),
    ("chcon", Write(1), "... recursive=R* user=u: role=r: type=t: range=l: reference:"),
    ("mkfifo mknod", Write(0), "... mode=m:"),
    ("patch", Write(0), "... strip=p: directory=d: input=i:< output=o:>"),
];
