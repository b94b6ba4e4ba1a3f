//! The tools of this worker, and where they come from.

mod auto;
mod modules;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fazai_toolbox::{
    BuiltIn, Files, FilesOptions, Log, McpOptions, McpServer, Servers, Source, Toolbox,
    read_servers,
};
use tokio::sync::watch;
use tracing::{error, warn};

pub(crate) use self::auto::AutoTool;
pub(crate) use self::modules::tool_name;
use crate::Worker;
use crate::config::{Settings, ToolSettings};
use crate::live::User;
use crate::lock::lock;
use crate::policy::is_ours_alone;
use crate::text_file;

/// What the tools of all users share.
pub(crate) struct Tools {
    settings: watch::Receiver<Arc<Settings>>,
    made: Mutex<Option<Made>>,
}

/// Sources, and the settings that they were made from.
struct Made {
    settings: ToolSettings,
    /// In the order in which a name is looked for: what somebody put there goes before what this
    /// program has, so that old tools stay what they are.
    sources: Vec<Arc<dyn Source>>,
}

impl Made {
    fn of(settings: &ToolSettings) -> Self {
        let files = Files::new(FilesOptions {
            directory: settings.dir.clone(),
            node: None,
            python: None,
        });
        let log: Log =
            Arc::new(|server: &str, line: &str| warn!(server, "an MCP server says: {line}"));
        let options = McpOptions {
            log,
            ..McpOptions::default()
        };
        let mut sources: Vec<Arc<dyn Source>> = vec![
            Arc::new(files),
            Arc::new(BuiltIn::new(fazai_toolbox::Settings::default())),
        ];
        match Servers::new(servers(&settings.servers), &options) {
            Ok(servers) => sources.push(Arc::new(servers)),
            Err(fault) => error!(%fault, "there are no MCP servers"),
        }
        Self {
            settings: settings.clone(),
            sources,
        }
    }
}

/// The MCP servers that a file names; one with a mistake names none, which is logged.
fn servers(path: &Path) -> Vec<McpServer> {
    let read = match fs::metadata(path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Ok(about) if !is_ours_alone(&about) => {
            Err("others can change it: `chown root` and `chmod go-w` it".to_owned())
        }
        _ => text_file::read(path).map_err(|fault| fault.to_string()),
    };
    let found = read.and_then(|text| read_servers(&text).map_err(|fault| fault.to_string()));
    found.unwrap_or_else(|fault| {
        error!(path = %path.display(), fault, "there are no MCP servers");
        Vec::new()
    })
}

impl Tools {
    /// Has everything read again when it is next needed.
    pub(crate) fn reload(&self) {
        *lock(&self.made) = None;
    }

    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>) -> Self {
        Self {
            settings,
            made: Mutex::default(),
        }
    }

    /// The sources by the settings in force: they are made when they are first needed, and again
    /// when the settings have changed.
    fn sources(&self) -> Vec<Arc<dyn Source>> {
        let settings = Arc::clone(&self.settings.borrow());
        let mut made = lock(&self.made);
        let made = match &mut *made {
            Some(made) if made.settings == settings.tools => made,
            old => old.insert(Made::of(&settings.tools)),
        };
        made.sources.clone()
    }
}

impl Worker {
    /// The tools as one user may call them.
    pub(crate) fn toolbox(&self, user: User, auto: AutoTool) -> Toolbox {
        let modules: Arc<dyn Source> = Arc::new(modules::Modules {
            worker: self.clone(),
            user,
        });
        let shared = self.shared.tools.sources().into_iter();
        let auto: Arc<dyn Source> = Arc::new(auto::Auto(Arc::new(auto)));
        Toolbox::new(shared.chain([auto, modules]).collect())
    }
}
