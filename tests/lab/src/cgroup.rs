//! The control group of a lab's pods, in every hierarchy of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;
use crate::plan::Plan;

/// How long dead processes may hold their groups.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes the group; the kubelet does not start without it.
pub(crate) fn create(plan: &Plan) -> Result<(), Error> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.folder.join(plan.cgroup());
        fs::create_dir_all(&group).map_err(Error::file("create", &group))?;
        if hierarchy.unified {
            delegate(&hierarchy.folder)?;
        }
    }
    Ok(())
}

/// Removes the group and those below it, deepest first. The processes in it must have been killed.
pub(crate) fn remove(plan: &Plan) -> Result<(), Error> {
    let start = Instant::now();
    for hierarchy in hierarchies()? {
        let group = hierarchy.folder.join(plan.cgroup());
        while group.exists() {
            let result = remove_tree(&group);
            if let Err(error) = result
                && start.elapsed() > PATIENCE
            {
                return Err(Error::file("remove", &group)(error));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

struct Hierarchy {
    folder: PathBuf,
    unified: bool,
}

/// Hierarchies as mounted: one per controller (version 1), or one for all (version 2).
fn hierarchies() -> Result<Vec<Hierarchy>, Error> {
    let path = Path::new("/proc/self/mounts");
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(parse(&text))
}

fn parse(mounts: &str) -> Vec<Hierarchy> {
    let parse_line = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (folder, kind) = (words.next()?, words.next()?);
        let unified = kind == "cgroup2";
        (unified || kind == "cgroup").then(|| Hierarchy { folder: folder.into(), unified })
    };
    mounts.lines().filter_map(parse_line).collect()
}

/// In version 2 a group has the controllers its parent hands down.
fn delegate(root: &Path) -> Result<(), Error> {
    let path = root.join("cgroup.controllers");
    let controllers = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let wanted: Vec<String> = controllers.split_whitespace().map(|name| format!("+{name}")).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let path = root.join("cgroup.subtree_control");
    fs::write(&path, wanted.join(" ")).map_err(Error::file("write", &path))
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_among_other_mounts() {
        let found = parse(
            "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
             cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        );
        let found: Vec<(&str, bool)> =
            found.iter().map(|h| (h.folder.to_str().unwrap(), h.unified)).collect();
        assert_eq!(found, [("/sys/fs/cgroup/cpu", false), ("/sys/fs/cgroup/unified", true)]);
    }
}
