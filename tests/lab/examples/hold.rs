//! Holds a fixture until it is ended from outside: what happens to the lab then is a test's business.

fn main() -> Result<(), lab::Error> {
    let lab = lab::Lab::control_plane()?;
    println!("{}", lab.plan().name);
    std::thread::sleep(std::time::Duration::from_secs(600));
    Ok(())
}
