//! What is typed wrongly, and what is typed rightly and answered by the command line itself.

use crate::run::World;

#[test]
fn help_shows_the_verbs_and_the_rest_under_more() {
    let help = World::new().lode(&["--help"]).ok().stdout;
    let (verbs, more) = help.split_once("More:").unwrap();
    for verb in ["prepare", "train", "resume", "evaluate", "predict", "export"] {
        assert!(verbs.contains(&format!("\n  {verb} ")), "{help}");
    }
    for verb in ["encode", "race", "strategies", "doctor", "completions", "man"] {
        assert!(more.contains(&format!("\n  {verb} ")) && !verbs.contains(&format!("\n  {verb} ")), "{help}");
    }
}

#[test]
fn manual_pages_are_printed_or_written() {
    let world = World::new();
    let page = world.lode(&["man", "train"]).ok().stdout;
    assert!(page.contains(".TH lode-train 1") && page.contains("\\-\\-epochs"), "{page}");
    assert!(world.lode(&["man", "inspect", "data"]).ok().stdout.contains(".TH lode-inspect-data 1"));
    world.lode(&["man", "trian"]).fails(3, &["trian", "lode --help"]);
    world.lode(&["man", "train", "--out", "man1"]).fails(2, &["--out"]);
    let written = world.lode(&["man", "--out", "man1", "--json"]).ok().json();
    let files = std::fs::read_dir(world.path("man1")).unwrap().count();
    assert_eq!(written["pages"], files);
    let named = ["lode.1", "lode-train.1", "lode-man.1"];
    assert!(named.iter().all(|name| world.path("man1").join(name).exists()), "{files} pages");
}

#[test]
fn what_is_typed_wrongly_exits_with_two_and_says_what_was_meant() {
    let world = World::new();
    world.lode(&["trian", "x"]).fails(2, &["trian", "'train'"]);
    world.lode(&["train", "d", "--out", "r", "--epoch", "3"]).fails(2, &["--epochs"]);
    world.lode(&["prepare", "x.csv", "--out", "d"]).fails(2, &["--tokenizer", "--train-vocab"]);
    world.lode(&["evaluate", "m", "d", "--require", "P@1"]).fails(2, &["P@1=0.60"]);
    world.lode(&["train", "d", "--model", "bag"]).fails(2, &["--out"]);
    assert!(world.listing().is_empty());
}

#[test]
fn a_folder_of_another_project_is_recognised_by_its_files() {
    let world = World::new();
    let matrix =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/relevance.npz")).unwrap();
    for (folder, train, test, labels) in
        [("pecos", "X.trn", "X.tst", "output-items"), ("dexml", "raw/trn_X", "raw/tst_X", "raw/Y")]
    {
        for texts in [train, test] {
            world.write(&format!("{folder}/{texts}.txt"), "red shoe\nblue boot\nold red boot\n");
        }
        world.write(&format!("{folder}/{labels}.txt"), "shoes\nboots\nold\nred\n");
        for split in ["trn", "tst"] {
            world.write(&format!("{folder}/Y.{split}.npz"), &matrix);
        }
        let ran = world.lode(&["prepare", folder, "--out", "d", "--train-vocab", "60", "--json"]).ok();
        assert!(ran.stderr.contains(&format!("{folder} is read as --format xc")), "{}", ran.stderr);
        let found = ran.json();
        // The second row of the matrix is empty.
        assert_eq!((&found["train"], &found["test"], &found["labels"]), (&2.into(), &3.into(), &4.into()));
    }
    world.write("bags/train.txt", "2 5000 3993\n1 0:1\n2 3:1\n");
    let words = ["prepare", "bags", "--out", "b", "--train-vocab", "60"];
    world.lode(&words).fails(3, &["train.txt:1", "no text", "trn.json.gz"]);
}

#[test]
fn wrong_names_in_the_configuration_are_answered_with_the_right_ones() {
    let world = World::new();
    let train = |more: &[&str]| world.lode(&[&["train", "d", "--out", "r"], more].concat());
    train(&["--set", "train.lrr=1"]).fails(3, &["train.lrr", "did you mean `train.lr`"]);
    train(&["--composer", "ngam"]).fails(3, &["ngame", "shuffled"]);
    world.write("run.toml", "[train]\nepochs = 2\nbatches = 4\n");
    train(&["--config", "run.toml"]).fails(3, &["run.toml:3", "batches = 4", "train.batch"]);
    train(&["--model", "bag"]).fails(3, &["d: no such file"]);
    assert!(!world.path("r").exists());
}

#[test]
fn the_configuration_is_printed_with_the_origin_of_each_value() {
    let world = World::new();
    world.write("run.toml", "[train]\nbatch = 64\n[loss]\nname = \"triplet\"\n");
    let words =
        ["train", "--config", "run.toml", "--set", "train.clip=0.5", "--lr", "0.002", "--print-config"];
    let shown = world.lode(&words).ok().stdout;
    let line =
        |name: &str| shown.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}: {shown}"));
    assert!(line("batch = 64").ends_with("# run.toml"));
    assert!(line("clip = 0.5").ends_with("# --set"));
    assert!(line("lr = 0.002").ends_with("# --lr"));
    assert!(line("hardest = ").ends_with("# recipe triplet"));
    assert!(line("epochs = ").ends_with("# default"));
    let named = world.lode(&[&words[..], &["--preset", "lf-wikipedia-500k"]].concat()).ok().stdout;
    for line in ["epochs = 40 # preset lf-wikipedia-500k", "batch = 64 # run.toml", "lr = 0.002 # --lr"] {
        let squeezed = |l: &str| l.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(named.lines().any(|l| squeezed(l) == line), "{line}: {named}");
    }
    world.lode(&["train", "d", "--preset", "help"]).fails(2, &["lf-amazontitles-131k,", "lf-aol-270k"]);
    assert!(
        world
            .lode(&["strategies"])
            .ok()
            .stdout
            .contains("lf-aol-270k\n  LF-AOL-270K: the encoder of NGAME\n")
    );
    let json = world.lode(&[&words[..], &["--json"]].concat()).ok().json();
    assert_eq!((&json["train"]["batch"], &json["loss"]["name"]), (&64.into(), &"triplet".into()));
}

#[test]
fn colours_are_shown_when_asked_for_and_never_in_a_file() {
    let world = World::new();
    let words = ["evaluate", "none", "none"];
    assert!(world.lode(&words).fails(3, &["error: none"]).stderr.starts_with("error:"));
    let painted = world.lode(&[&words[..], &["--color", "always"]].concat()).stderr;
    assert!(painted.starts_with("\u{1b}[1;31merror:\u{1b}[0m"), "{painted}");
}

#[test]
fn doctor_finds_the_arithmetic_sound() {
    let world = World::new();
    let found = world.lode(&["doctor", "--json"]).ok().json();
    for test in ["gemm", "random", "files"] {
        assert_eq!(found["self_test"][test], "ok");
    }
    assert!(found["threads"].as_u64().unwrap() >= 1);
    // A machine with a device says its name, another one what is missing.
    let stdout = world.lode(&["doctor"]).ok().stdout;
    match found["cuda"].as_array() {
        Some(devices) => {
            let name = devices[0]["name"].as_str().unwrap();
            assert!(stdout.contains(&format!("cuda:0 {name}, ")), "{stdout}");
        }
        None => {
            let missing = found["cuda"].as_str().unwrap();
            assert!(missing.contains("CUDA driver"), "{missing}");
            assert!(stdout.contains(&format!("none: {missing}")), "{stdout}");
        }
    }
    assert!(found["bench"].is_null(), "nobody asked for it");
    let names = world.lode(&["strategies", "--json"]).ok().json();
    assert!(names["strategies"].as_array().unwrap().iter().any(|s| s["name"] == "ngame"));
}

#[test]
fn completions_know_the_verbs() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.lode(&["completions", shell]).ok().stdout;
        assert!(script.contains("evaluate") && script.contains("train-vocab"), "{shell}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_an_error_and_a_closed_pipe_is_not() {
    let world = World::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status =
        world.command(&["strategies"]).stdout(full).stderr(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(74));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let out = world.command(&["strategies"]).stdout(writer).output().unwrap();
    assert_eq!((out.status.code(), out.stderr), (Some(0), vec![]));
}
