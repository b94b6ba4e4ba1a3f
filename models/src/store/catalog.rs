//! The models that have a short name.
//!
//! Each row names one file by the commit that it was in, its size and its SHA-256, so that an
//! alias means the same bytes for everybody and for good. The sums are the ones that the hub
//! states for these files (the object ids of its large-file store). They were collected from
//! public manifests, at least two that agree for every row, and not computed here from
//! downloaded files. A wrong one would make a pull fail; it can't let a wrong file through.

use super::reference::ModelName;

/// A model with a short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogModel {
    /// The short name.
    pub alias: &'static str,
    /// `OWNER/REPO` on the hub.
    pub repository: &'static str,
    /// The file in that repository.
    pub file: &'static str,
    /// The commit that the file is taken from.
    pub revision: &'static str,
    /// The file's length.
    pub bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub sha256: &'static str,
    /// What the weights may be used under. Read it before you use them in a product.
    pub license: &'static str,
}

impl CatalogModel {
    /// The whole reference, with the commit.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("hf:{}/{}@{}", self.repository, self.file, self.revision)
    }

    /// The name that its file has in the store.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        self.file.strip_suffix(".gguf").unwrap_or(self.file)
    }
}

/// A model that is a directory of files, as embedding models are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogDirectory {
    /// The short name, which its directory has too.
    pub alias: &'static str,
    /// `OWNER/REPO` on the hub.
    pub repository: &'static str,
    /// The commit that the files are taken from.
    pub revision: &'static str,
    /// What the weights may be used under.
    pub license: &'static str,
    /// Its files.
    pub files: &'static [CatalogFile],
}

/// A file of a [`CatalogDirectory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogFile {
    /// Its path in the repository and in the directory.
    pub path: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
}

impl CatalogDirectory {
    /// All its files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The embedding models. The sums were computed from the same bytes: their git object ids are
/// those of the repository at this commit.
pub static DIRECTORIES: &[CatalogDirectory] = &[CatalogDirectory {
    alias: "minilm",
    repository: "sentence-transformers/all-MiniLM-L6-v2",
    revision: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    license: "Apache-2.0",
    files: &[
        CatalogFile {
            path: "1_Pooling/config.json",
            bytes: 190,
            sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        },
        CatalogFile {
            path: "config.json",
            bytes: 612,
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        CatalogFile {
            path: "config_sentence_transformers.json",
            bytes: 116,
            sha256: "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        },
        CatalogFile {
            path: "modules.json",
            bytes: 349,
            sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        },
        CatalogFile {
            path: "sentence_bert_config.json",
            bytes: 53,
            sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        },
        CatalogFile {
            path: "tokenizer.json",
            bytes: 466_247,
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        CatalogFile {
            path: "model.safetensors",
            bytes: 90_868_376,
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
    ],
}];

/// The directory of an alias.
#[must_use]
pub fn find_directory(alias: &str) -> Option<&'static CatalogDirectory> {
    DIRECTORIES.iter().find(|model| model.alias == alias)
}

/// The row of an alias.
#[must_use]
pub fn find(alias: &str) -> Option<&'static CatalogModel> {
    MODELS.iter().find(|model| model.alias == alias)
}

/// The row of an alias, asked for by a name.
pub(crate) fn find_name(name: &ModelName) -> Option<&'static CatalogModel> {
    find(name.as_str())
}

/// All rows. Instruction-tuned models, each in a quantization that a machine without a GPU runs.
pub static MODELS: &[CatalogModel] = &[
    CatalogModel {
        alias: "qwen3:0.6b",
        repository: "Qwen/Qwen3-0.6B-GGUF",
        file: "Qwen3-0.6B-Q8_0.gguf",
        revision: "23749fefcc72300e3a2ad315e1317431b06b590a",
        bytes: 639_446_688,
        sha256: "9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "qwen3:1.7b",
        repository: "Qwen/Qwen3-1.7B-GGUF",
        file: "Qwen3-1.7B-Q8_0.gguf",
        revision: "90862c4b9d2787eaed51d12237eafdfe7c5f6077",
        bytes: 1_834_426_016,
        sha256: "061b54daade076b5d3362dac252678d17da8c68f07560be70818cace6590cb1a",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "qwen3:4b",
        repository: "Qwen/Qwen3-4B-GGUF",
        file: "Qwen3-4B-Q4_K_M.gguf",
        revision: "bc640142c66e1fdd12af0bd68f40445458f3869b",
        bytes: 2_497_280_256,
        sha256: "7485fe6f11af29433bc51cab58009521f205840f5b4ae3a32fa7f92e8534fdf5",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "qwen3:8b",
        repository: "Qwen/Qwen3-8B-GGUF",
        file: "Qwen3-8B-Q4_K_M.gguf",
        revision: "7c41481f57cb95916b40956ab2f0b139b296d974",
        bytes: 5_027_783_488,
        sha256: "d98cdcbd03e17ce47681435b5150e34c1417f50b5c0019dd560e4882c5745785",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "qwen2.5:0.5b",
        repository: "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
        file: "qwen2.5-0.5b-instruct-q4_k_m.gguf",
        revision: "9217f5db79a29953eb74d5343926648285ec7e67",
        bytes: 491_400_032,
        sha256: "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "qwen2.5:1.5b",
        repository: "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
        file: "qwen2.5-1.5b-instruct-q4_k_m.gguf",
        revision: "91cad51170dc346986eccefdc2dd33a9da36ead9",
        bytes: 1_117_320_736,
        sha256: "6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "qwen2.5:3b",
        repository: "Qwen/Qwen2.5-3B-Instruct-GGUF",
        file: "qwen2.5-3b-instruct-q4_k_m.gguf",
        revision: "7dabda4d13d513e3e842b20f0d435c732f172cbe",
        bytes: 2_104_932_768,
        sha256: "626b4a6678b86442240e33df819e00132d3ba7dddfe1cdc4fbb18e0a9615c62d",
        license: "Qwen Research License (no commercial use)",
    },
    // The makers' own file of this size is split in two, which only llama.cpp can load.
    CatalogModel {
        alias: "qwen2.5:7b",
        repository: "bartowski/Qwen2.5-7B-Instruct-GGUF",
        file: "Qwen2.5-7B-Instruct-Q4_K_M.gguf",
        revision: "8911e8a47f92bac19d6f5c64a2e2095bd2f7d031",
        bytes: 4_683_074_240,
        sha256: "65b8fcd92af6b4fefa935c625d1ac27ea29dcb6ee14589c55a8f115ceaaa1423",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "gemma3:270m",
        repository: "ggml-org/gemma-3-270m-it-GGUF",
        file: "gemma-3-270m-it-Q8_0.gguf",
        revision: "e7647be17ae1108f2f605ed061ca0608b171afff",
        bytes: 291_545_600,
        sha256: "0ef57d2c838458a1952664260dcba38e5bdda37494f3af732f06e4add24068e3",
        license: "Gemma Terms of Use",
    },
    CatalogModel {
        alias: "gemma3:1b",
        repository: "ggml-org/gemma-3-1b-it-GGUF",
        file: "gemma-3-1b-it-Q4_K_M.gguf",
        revision: "f9c28bcd85737ffc5aef028638d3341d49869c27",
        bytes: 806_058_240,
        sha256: "8ccc5cd1f1b3602548715ae25a66ed73fd5dc68a210412eea643eb20eb75a135",
        license: "Gemma Terms of Use",
    },
    CatalogModel {
        alias: "gemma3:4b",
        repository: "ggml-org/gemma-3-4b-it-GGUF",
        file: "gemma-3-4b-it-Q4_K_M.gguf",
        revision: "d0976223747697cb51e056d85c532013931fe52e",
        bytes: 2_489_757_856,
        sha256: "882e8d2db44dc554fb0ea5077cb7e4bc49e7342a1f0da57901c0802ea21a0863",
        license: "Gemma Terms of Use",
    },
    CatalogModel {
        alias: "gemma4:e2b",
        repository: "ggml-org/gemma-4-E2B-it-GGUF",
        file: "gemma-4-E2B-it-Q4_0.gguf",
        revision: "b4243c156154b6dca9324415f8c7ccc098b4aed1",
        bytes: 2_841_481_184,
        sha256: "8e30dff3ac4c8434c49a7036fa15564bdbb6044e42bf04550bf1a096ad7e6a52",
        license: "Apache-2.0",
    },
    CatalogModel {
        alias: "gemma4:e4b",
        repository: "ggml-org/gemma-4-E4B-it-GGUF",
        file: "gemma-4-E4B-it-Q4_0.gguf",
        revision: "b8093469224f83f5c38f691eb906c380e9e63114",
        bytes: 4_590_807_392,
        sha256: "a555b900214b477d8880e7832e0b8925e139b0159640036b09fe472b6f2097f2",
        license: "Apache-2.0",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::reference::{Reference, Wanted};
    use super::*;

    #[test]
    fn every_row_is_pinned_and_can_be_pulled() {
        let hex = |text: &str, digits: usize| {
            text.len() == digits
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        for model in MODELS {
            ModelName::parse(model.alias).expect("an alias is a name");
            let reference = Reference::parse(&model.reference()).expect("a reference");
            assert_eq!(reference.name(), model.stem());
            assert!(hex(model.sha256, 64), "{}", model.alias);
            assert!(hex(model.revision, 40), "{}", model.alias);
            assert!(model.bytes > 100 << 20, "{}", model.alias);
            assert!(!model.license.is_empty());
            assert_eq!(
                Wanted::parse(model.alias).map(|wanted| wanted.known),
                Ok(Some(model))
            );
        }
    }

    #[test]
    fn no_alias_file_or_sum_comes_twice() {
        let distinct = |value: fn(&CatalogModel) -> &str| {
            let values: BTreeSet<_> = MODELS.iter().map(value).collect();
            values.len()
        };
        assert_eq!(distinct(|model| model.alias), MODELS.len());
        assert_eq!(distinct(|model| model.file), MODELS.len());
        assert_eq!(distinct(|model| model.sha256), MODELS.len());
    }
}
