//! What a model needs, and what the machine has: asked before anything is loaded, because the
//! alternative is the kernel's out-of-memory killer.

use std::fs;
use std::path::Path;

use crate::gguf::Gguf;

/// Memory that a model will take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The weights.
    pub weights: u64,
    /// The KV cache.
    pub kv_cache: u64,
    /// Everything else: compute buffers, logits, the vocabulary. An estimate.
    pub buffers: u64,
}

impl Needs {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights + self.kv_cache + self.buffers
    }
}

/// Buffers that every model has, whatever its size.
const BUFFERS_BASE: u64 = 48 << 20;

/// How the KV cache's numbers are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KvType {
    /// 16 bits each.
    #[default]
    F16,
    /// 8.5 bits each. Reading prompts is slower on a CPU, more than twice with some models.
    Q8_0,
}

impl KvType {
    /// The name that people write.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Bytes that one token takes.
    #[must_use]
    pub fn bytes_per_token(self, gguf: &Gguf) -> u64 {
        let numbers = gguf.kv_numbers_per_token();
        match self {
            Self::F16 => numbers * 2,
            // A block of 32 has a 16-bit scale.
            Self::Q8_0 => numbers * 34 / 32,
        }
    }
}

/// Estimates the needs of a model file with a KV cache of so many tokens.
#[must_use]
pub fn needs(gguf: &Gguf, cells: u32, kv_type: KvType, batch_tokens: u32) -> Needs {
    let width = gguf.shape("embedding_length").unwrap_or(0);
    let hidden = gguf.shape("feed_forward_length").unwrap_or(4 * width);
    // A batch's activations: a handful of rows as wide as the model, a few as its inner layer.
    let activations = u64::from(batch_tokens) * (6 * width + 3 * hidden) * 4;
    Needs {
        weights: gguf.file_bytes,
        kv_cache: u64::from(cells) * kv_type.bytes_per_token(gguf),
        buffers: BUFFERS_BASE.min(gguf.file_bytes * 4) + activations,
    }
}

/// Memory that can still be had without pushing others out, in bytes: what the kernel calls
/// available, or what the control group's limit leaves. `None` where neither can be read.
#[must_use]
pub fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| parse_meminfo(&text));
    let group = cgroup_room(Path::new("/sys/fs/cgroup"), &own_cgroup());
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The path of this process's control group below the root of the hierarchy.
fn own_cgroup() -> String {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"));
    unified.unwrap_or("/").trim_start_matches('/').to_owned()
}

/// The least that any limit on the way up leaves. File pages that the kernel could drop are not
/// counted as used.
fn cgroup_room(root: &Path, own: &str) -> Option<u64> {
    let mut path = root.join(own);
    let mut room: Option<u64> = None;
    loop {
        if let Some(here) = cgroup_room_at(&path) {
            room = Some(room.map_or(here, |room| room.min(here)));
        }
        if path == root || !path.pop() {
            return room;
        }
    }
}

fn cgroup_room_at(path: &Path) -> Option<u64> {
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(path.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    let stat = fs::read_to_string(path.join("memory.stat")).unwrap_or_default();
    let droppable: u64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(droppable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figure_is_read() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   1000 kB\n";
        assert_eq!(parse_meminfo(text), Some(1_024_000));
        assert_eq!(parse_meminfo("nonsense"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = std::env::temp_dir().join(format!("fazai-cgroup-{}", std::process::id()));
        let leaf = root.join("outer/leaf");
        fs::create_dir_all(&leaf).expect("a directory");
        let write = |dir: &Path, max: &str, current: &str| {
            fs::write(dir.join("memory.max"), max).expect("written");
            fs::write(dir.join("memory.current"), current).expect("written");
        };
        write(&leaf, "max\n", "10\n");
        write(&root.join("outer"), "1000\n", "700\n");
        assert_eq!(cgroup_room(&root, "outer/leaf"), Some(300));
        fs::write(
            root.join("outer/memory.stat"),
            "anon 5\ninactive_file 200\n",
        )
        .expect("written");
        assert_eq!(cgroup_room(&root, "outer/leaf"), Some(500));
        write(&leaf, "100\n", "10\n");
        assert_eq!(cgroup_room(&root, "outer/leaf"), Some(90));
        fs::remove_dir_all(&root).expect("removed");
    }
}
