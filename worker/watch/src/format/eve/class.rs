//! What an alert is about: by Suricata's classification, or else by the class word of the
//! signature, such as `ET SCAN`.

use crate::event::Category;

pub(super) struct Class {
    pub(super) category: Option<Category>,
    /// With the highest severity, a host is lost.
    pub(super) critical: bool,
}

pub(super) fn of(classification: &str, signature: &str) -> Class {
    let by_class = CLASSES.iter().find(|(name, ..)| *name == classification);
    match by_class {
        Some(&(name, category, critical)) => {
            // What says little gives way to the word for scans, miners and the like.
            let word = VAGUE.contains(&name).then(|| by_word(signature)).flatten();
            Class {
                category: word.or(Some(category)),
                critical,
            }
        }
        None => Class {
            category: by_word(signature),
            critical: false,
        },
    }
}

fn by_word(signature: &str) -> Option<Category> {
    let mut words = signature.split_ascii_whitespace();
    let first = words.next()?;
    let word = if matches!(first, "ET" | "ETPRO" | "GPL") {
        words.next()?
    } else {
        first
    };
    let known = WORDS.iter().find(|(_, names)| names.contains(&word));
    known.map(|(category, _)| *category)
}

/// Classes that rules of all kinds have.
const VAGUE: &[&str] = &["Potentially Bad Traffic", "Misc Attack"];

const CLASSES: &[(&str, Category, bool)] = {
    use Category::{
        Bruteforce, Dos, Exfiltration, Exploit, Malware, Network, Policy, Privilege, Recon,
    };
    &[
        ("Potentially Bad Traffic", Policy, false),
        ("Attempted Information Leak", Recon, false),
        ("Misc Attack", Exploit, false),
        ("A Network Trojan was detected", Malware, false),
        (
            "Malware Command and Control Activity Detected",
            Malware,
            true,
        ),
        ("Domain Observed Used for C2 Detected", Malware, true),
        ("Crypto Currency Mining Activity Detected", Malware, false),
        ("Exploit Kit Activity Detected", Malware, false),
        ("Targeted Malicious Activity was Detected", Malware, false),
        ("Possible Social Engineering Attempted", Malware, false),
        ("Attempted Administrator Privilege Gain", Exploit, false),
        ("Attempted User Privilege Gain", Exploit, false),
        ("Web Application Attack", Exploit, false),
        ("Executable code was detected", Exploit, false),
        ("Successful Administrator Privilege Gain", Privilege, true),
        ("Successful User Privilege Gain", Privilege, true),
        ("Successful Credential Theft Detected", Exfiltration, true),
        ("Information Leak", Exfiltration, false),
        ("Large Scale Information Leak", Exfiltration, false),
        (
            "Sensitive Data was Transmitted Across the Network",
            Exfiltration,
            false,
        ),
        ("Detection of a Network Scan", Recon, false),
        ("Decode of an RPC Query", Recon, false),
        (
            "access to a potentially vulnerable web application",
            Recon,
            false,
        ),
        (
            "An attempted login using a suspicious username was detected",
            Bruteforce,
            false,
        ),
        (
            "Attempt to Login By a Default Username and Password",
            Bruteforce,
            false,
        ),
        (
            "Attempt to login by a default username and password",
            Bruteforce,
            false,
        ),
        ("Attempted Denial of Service", Dos, false),
        ("Denial of Service", Dos, false),
        ("Detection of a Denial of Service Attack", Dos, false),
        ("Potential Corporate Privacy Violation", Policy, false),
        ("Possibly Unwanted Program Detected", Policy, false),
        (
            "Device Retrieving External IP Address Detected",
            Policy,
            false,
        ),
        ("A client was using an unusual port", Policy, false),
        (
            "Detection of a Non-Standard Protocol or Event",
            Policy,
            false,
        ),
        ("Inappropriate Content was Detected", Policy, false),
        ("Not Suspicious Traffic", Network, false),
        ("Unknown Traffic", Network, false),
        ("Misc activity", Network, false),
        ("Generic Protocol Command Decode", Network, false),
        ("Generic ICMP event", Network, false),
        ("A TCP connection was detected", Network, false),
        ("A suspicious string was detected", Network, false),
    ]
};

const WORDS: &[(Category, &[&str])] = &[
    (
        Category::Malware,
        &[
            "MALWARE",
            "TROJAN",
            "CNC",
            "BOTCC",
            "COINMINER",
            "MOBILE_MALWARE",
            "PHISHING",
            "EXPLOIT_KIT",
        ],
    ),
    (
        Category::Exploit,
        &[
            "EXPLOIT",
            "WEB_SERVER",
            "WEB_SPECIFIC_APPS",
            "WEB_CLIENT",
            "SHELLCODE",
            "SQL",
            "COMPROMISED",
            "CINS",
            "DROP",
        ],
    ),
    (Category::Privilege, &["ATTACK_RESPONSE"]),
    (Category::Recon, &["SCAN", "RPC"]),
    (Category::Dos, &["DOS"]),
    (
        Category::Policy,
        &[
            "POLICY",
            "P2P",
            "TOR",
            "GAMES",
            "CHAT",
            "INFO",
            "HUNTING",
            "ADWARE_PUP",
        ],
    ),
    (Category::Network, &["SURICATA", "ICMP", "DNS"]),
];
