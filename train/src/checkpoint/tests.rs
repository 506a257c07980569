use super::*;
use engine::{Engine, Home, Numbers, Stream, TablePrecision};

/// Ranked lists of two queries, as they lie in a checkpoint.
fn lists() -> Ranked {
    Ranked { width: 1, ids: vec![4, 9], scores: vec![0.5, 0.25], positive: vec![0.75, 0.5], made_at_step: 3 }
}

fn soft() -> SoftState<'static> {
    let (starts, labels, targets) = (vec![0, 1, 3], vec![1, 0, 1], vec![0.25, 0.5, 0.125]);
    SoftState { starts: starts.into(), labels: labels.into(), targets: targets.into() }
}

/// Label weights in bf16, and one number of f32 for each.
pub(super) struct Tables {
    w: Table,
    v: Table,
    factors: Option<Vec<u64>>,
    chain: Vec<Link>,
}

impl Tables {
    pub(super) fn new(rows: usize, width: usize) -> Tables {
        let chance = TablePrecision::Bf16(Stream::new(1, 1));
        let w = Table::zeros_in(&Home::Heap, chance, rows, width).expect("heap");
        Tables { w, v: Table::zeros(rows, 1), factors: None, chain: vec![] }
    }
    /// Writes some rows of both as a step does.
    pub(super) fn learn(&mut self, step: u64, rows: &[u32]) {
        let (engine, width) = (Engine::new(1), self.w.width());
        let values = vec![0.1 + step as f32; rows.len() * width];
        self.w.scatter(&engine, step, rows, &Tensor::from_vec([rows.len(), width], values));
        self.v.rows_mut(rows).into_iter().for_each(|row| row[0] += step as f32);
    }
    pub(super) fn at(&self, step: u64) -> Checkpoint<'_, &Table> {
        Checkpoint {
            progress: Progress { step, epoch: 2, batch: 5 },
            data: 77,
            kernel_class: "avx2".into(),
            params: vec![("w".into(), Tensor::from_vec([2, 2], vec![1.0f32, 2.0, 3.0, step as f32]))],
            optimizer: vec![("n".into(), Tensor::from_vec([1], vec![9u32]))],
            memory: vec![("queue.next".into(), Tensor::from_vec([1], vec![3u32]))],
            bank: (vec![0.5; 6], vec![1, 0, 3]),
            composer: State { order: vec![2, 0, 1], ends: vec![1, 3], epoch: 1, made_at_step: 4 },
            lists: Some(Cow::Owned(lists())),
            head: Some(HeadState {
                steps: 7,
                tables: vec![(WEIGHTS.into(), &self.w), ("v".into(), &self.v)],
                lists_epoch: Some(1),
                lists: vec![5, 6].into(),
                soft: Some(soft()),
                factors: self.factors.as_deref().map(Cow::Borrowed),
                chain: self.chain.clone(),
            }),
        }
    }
    /// Writes a checkpoint as a run does, and gives its size and the number of files that it needs.
    fn save(&mut self, step: u64, folder: &Path, keep: usize) -> (usize, usize) {
        let staged = self.at(step).stage(Arc::new(System), folder, keep, None).expect("staged");
        let files = self.committed(staged).chain.len();
        (fs::read(path_of(folder, step)).expect("read").len(), files)
    }
    /// Brings a checkpoint to the disk; the next one adds to it.
    pub(super) fn committed(&mut self, staged: Staged) -> Saved {
        self.w.forget_changes();
        self.v.forget_changes();
        self.chain = staged.chain().to_vec();
        staged.commit().expect("written")
    }
    /// What a file gives back is what is here, to the bit.
    #[track_caller]
    fn check(&self, path: &Path) {
        let head = Checkpoint::read(path).expect("whole").head.expect("a head");
        let mut back = Tables::new(self.w.rows(), self.w.width());
        assert!(head.tables[0].1.restore(&mut back.w) && head.tables[1].1.restore(&mut back.v));
        assert!(all(&back.w) == all(&self.w) && all(&back.v) == all(&self.v));
        assert_eq!((back.w.bytes_changed(), head.chain), (0, self.chain.clone()));
        let weights = Trained::read(path).expect("whole").weights().expect("whole").expect("a head");
        assert_eq!(bits(&weights.to_f32()), bits(self.w.slice(&Engine::new(1), 0..self.w.rows()).data()));
        assert!(
            !head.tables[0].1.restore(&mut Table::zeros(self.w.rows(), self.w.width())),
            "f32 is no bf16"
        );
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn sample() -> Tables {
    let mut tables = Tables::new(2, 1);
    tables.learn(1, &[0, 1]);
    tables
}

/// Changes a byte of a section.
fn damage(path: &Path, section: &str) {
    let file = Container::open(path, KIND, Verify::Header).expect("opened");
    let at = file.bytes(section).expect("there").as_ptr() as usize
        - file.bytes("manifest").expect("there").as_ptr() as usize;
    let mut bytes = fs::read(path).expect("read");
    bytes[64 + at] ^= 1;
    fs::write(path, bytes).expect("written");
}

/// All numbers of a table on the CPU.
pub(super) fn all(table: &Table) -> Numbers<'_> {
    table.numbers([[0, table.rows() as u32]].into_iter()).next().expect("one piece")
}

#[test]
fn a_checkpoint_comes_back_whole() {
    let (dir, tables) = (tempfile::tempdir().expect("a directory"), sample());
    let want = tables.at(8);
    let path = want.write(dir.path(), 2).expect("written").path;
    let back = Checkpoint::read(&path).expect("read");
    assert_eq!((back.progress, back.data, back.kernel_class), (want.progress, 77, "avx2".into()));
    assert_eq!((back.bank, &back.composer), (want.bank.clone(), &want.composer));
    assert_eq!(back.lists, Some(Cow::Owned(lists())));
    assert_eq!((back.params[0].1.to_f64(), back.params[0].0.as_str()), (vec![1.0, 2.0, 3.0, 8.0], "w"));
    assert_eq!(back.optimizer[0].1.data::<u32>(), [9]);
    let head = back.head.expect("a head");
    assert_eq!((head.steps, head.lists_epoch, &*head.lists), (7, Some(1), &[5, 6][..]));
    let found = head.soft.as_ref().expect("what a teacher said");
    let said = soft();
    assert!(found.starts == said.starts && found.labels == said.labels && found.targets == said.targets);
    let v = tables.v.data();
    assert_eq!((&*head.tables[1].0, head.tables[1].1.to_f32()), ("v", v.to_vec()));
}

#[test]
fn the_newest_whole_one_is_found_and_old_ones_go() {
    let dir = tempfile::tempdir().expect("a directory");
    for step in [1, 2, 3] {
        sample().at(step).write(dir.path(), 2).expect("written");
    }
    assert_eq!(list(dir.path()).len(), 2);
    let newest = path_of(dir.path(), 3);
    damage(&newest, "t0");
    let (found, path, passed) = Checkpoint::newest(dir.path()).expect("an older one is whole");
    assert_eq!((found.progress.step, path, passed.len()), (2, path_of(dir.path(), 2), 1));
    fs::remove_file(path_of(dir.path(), 2)).expect("removed");
    let error = Checkpoint::newest(dir.path()).err().expect("none is whole");
    assert_eq!(error.kind(), Kind::Damaged);
}

#[test]
fn using_a_model_reads_its_parameters_and_nothing_of_the_optimizer() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = sample().at(8).write(dir.path(), 1).expect("written").path;
    damage(&path, "t1");
    assert_eq!(Checkpoint::read(&path).err().expect("damaged").kind(), Kind::Damaged);
    let trained = Trained::newest(dir.path()).expect("its parameters are whole");
    assert_eq!(trained.progress, sample().at(8).progress);
    assert_eq!(trained.params[0].1.to_f64(), [1.0, 2.0, 3.0, 8.0]);
    for section in ["t0", "manifest"] {
        let path = sample().at(8).write(dir.path(), 1).expect("written").path;
        damage(&path, section);
        assert_eq!(Trained::newest(dir.path()).err().expect("damaged").kind(), Kind::Damaged);
    }
}

#[test]
fn a_damaged_newer_one_takes_no_place_from_those_that_are_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(path_of(dir.path(), 100), b"torn").expect("written");
    sample().at(90).write(dir.path(), 1).expect("written");
    assert_eq!(list(dir.path()), [path_of(dir.path(), 90)]);
}

#[test]
fn only_rows_that_changed_are_written_and_the_chain_is_the_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut tables, all) = (Tables::new(1000, 16), (0..1000).collect::<Vec<u32>>());
    tables.learn(1, &all);
    // 1000 rows of 16 · 2 + 4 bytes; whatever else there is takes less than 3000.
    let (size, files) = tables.save(10, dir.path(), 1);
    assert!((36_000..39_000).contains(&size) && files == 1, "{size}");
    for (step, rows) in [(20, &[3u32, 4, 700][..]), (30, &[]), (40, &[4, 999])] {
        tables.learn(step, rows);
        let (size, files) = tables.save(step, dir.path(), 1);
        assert!(size < 3000 + 36 * rows.len() && files == step as usize / 10, "{size} bytes, {files} files");
        tables.check(&path_of(dir.path(), step));
    }
    // One is kept, and what it adds to; every file is a checkpoint.
    assert_eq!(list(dir.path()).len(), 4);
    assert!(list(dir.path()).iter().all(|path| Checkpoint::read(path).is_ok()));
}

#[test]
fn a_chain_longer_than_its_tables_begins_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut tables, mut files) = (Tables::new(1000, 16), vec![]);
    for step in 1..=40 {
        let rows: Vec<u32> = (0..200).map(|i| (5 * i + step % 5) as u32).collect();
        tables.learn(step, &rows);
        files.push(tables.save(step, dir.path(), 2).1);
        let disk: u64 = list(dir.path()).iter().map(|path| fs::metadata(path).expect("there").len()).sum();
        // Two of one chain: tables of 36,000 bytes twice. Two of two chains: those, and tables once more.
        assert!(disk < 3 * 36_000 + 20_000, "step {step}: {disk} bytes");
        assert!(list(dir.path()).len() >= 2.min(step as usize), "two are kept");
        tables.check(&path_of(dir.path(), step));
    }
    // 200 rows of 36 bytes, 8 for each of their runs in both tables, and 1,500 besides: three of these are 35,700.
    assert_eq!(files[..10], [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]);
    // All rows at once: nothing is gained by a chain.
    tables.learn(41, &(0..1000).collect::<Vec<u32>>());
    assert_eq!(tables.save(41, dir.path(), 2).1, 1);
}

#[test]
fn tables_that_are_small_beside_the_rest_are_written_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    // 3,600 bytes, and some 1,500 besides; 360 bytes, and as many.
    for (rows, files) in [(100, 2), (10, 1)] {
        let mut tables = Tables::new(rows, 16);
        tables.save(rows as u64, dir.path(), 9);
        tables.learn(2, &[1]);
        assert_eq!(tables.save(rows as u64 + 1, dir.path(), 9).1, files);
    }
}

#[test]
fn a_chain_of_small_changes_ends_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tables = Tables::new(20_000, 16);
    let files: Vec<usize> = (1..=130).map(|step| tables.save(step, dir.path(), 1).1).collect();
    assert_eq!((files[63], files[64], files[127], files[128]), (64, 1, 64, 1));
}

#[test]
fn damage_in_a_chain_is_found_and_named_and_the_newest_whole_one_is_taken() {
    for section in ["h0", "h0.rows", "h1", "h1.rows"] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut tables = Tables::new(1000, 16);
        for step in [1, 2, 3, 4] {
            tables.learn(step, &[step as u32, 500]);
            tables.save(step, dir.path(), 9);
        }
        let third = path_of(dir.path(), 3);
        damage(&third, section);
        let (found, path, passed) = Checkpoint::newest(dir.path()).expect("the second is whole");
        assert_eq!((found.progress.step, path), (2, path_of(dir.path(), 2)));
        let told: Vec<String> = passed.iter().map(ToString::to_string).collect();
        let names = |text: &str, step| text.contains(&path_of(dir.path(), step).display().to_string());
        assert!(
            told.len() == 2 && told.iter().all(|text| names(text, 3) && text.contains(section)),
            "{told:?}"
        );
        assert!(names(&told[0], 4), "who needs it is named: {}", told[0]);
        // The model does not need it; its label weights do.
        let weights = Trained::newest(dir.path()).expect("parameters are whole").weights();
        assert_eq!(weights.is_err(), section.starts_with("h0"));
    }
}

/// U = [[1, 2], [3, 4]] and ω = (10, 20), then what no reader of the weights looks at.
fn factors() -> Vec<u64> {
    let of_weights = [1.0f64, 2.0, 3.0, 4.0, 10.0, 20.0].into_iter().chain((0..10).map(|_| 0.5));
    of_weights.map(f64::to_bits).collect()
}

#[test]
fn weights_of_which_a_table_is_a_factor_are_read_as_the_product() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tables = Tables { factors: Some(factors()), ..Tables::new(400, 2) };
    let all: Vec<u32> = (0..400).collect();
    for (step, rows) in [(1, &all[..]), (2, &all[7..8])] {
        tables.learn(step, rows);
        tables.save(step, dir.path(), 9);
    }
    let path = path_of(dir.path(), 2);
    let head = Checkpoint::read(&path).expect("whole").head.expect("a head");
    assert_eq!((head.factors.as_deref(), head.chain.len()), (Some(&*factors()), 2), "in two files");
    let v = tables.w.slice(&Engine::new(1), 0..400);
    assert_eq!(head.tables[0].1.to_f32(), v.data::<f32>(), "a run goes on with the table");
    let weights = Trained::read(&path).expect("whole").weights().expect("whole").expect("a head");
    let product =
        v.data::<f32>().chunks(2).flat_map(|v| [v[0] + 3.0 * v[1] + 10.0, 2.0 * v[0] + 4.0 * v[1] + 20.0]);
    let want: Vec<f32> = product.collect();
    assert!(weights.to_f32().iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-5 * want.abs()));
    assert_eq!(weights.shape(), [400, 2]);

    damage(&path, "factors");
    let error =
        Trained::read(&path).expect("parameters are whole").weights().err().expect("damaged").to_string();
    assert!(error.contains("factors"), "{error}");
    // Of another width: the checksum is right.
    tables.factors = Some(factors()[1..].to_vec());
    tables.save(3, dir.path(), 9);
    let error =
        Trained::newest(dir.path()).expect("parameters").weights().err().expect("damaged").to_string();
    assert!(error.contains("15 numbers do not fit rows of 2"), "{error}");
}

#[test]
fn a_file_that_took_the_place_of_a_link_is_no_link() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tables = Tables::new(1000, 16);
    for step in [1, 2] {
        tables.learn(step, &[step as u32]);
        tables.save(step, dir.path(), 9);
    }
    let (first, second) = (path_of(dir.path(), 1), path_of(dir.path(), 2));
    let kept = fs::read(&second).expect("read");
    let mut other = Tables::new(1000, 16);
    other.learn(7, &[1]);
    other.save(1, dir.path(), 9);
    fs::write(&second, kept).expect("written");
    let error = Checkpoint::read(&second).err().expect("refused").to_string();
    assert!(error.contains(&first.display().to_string()) && error.contains("another file"), "{error}");
    assert_eq!(Checkpoint::newest(dir.path()).expect("the first is whole").0.progress.step, 1);
}

#[test]
fn a_step_saved_twice_and_one_whose_base_has_gone_are_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tables = Tables::new(1000, 16);
    tables.learn(1, &[1, 2]);
    for (step, files) in [(1, 1), (2, 2), (2, 1), (3, 2)] {
        tables.learn(step, &[4]);
        assert_eq!(tables.save(step, dir.path(), 9).1, files);
        tables.check(&path_of(dir.path(), step));
    }
    fs::remove_file(path_of(dir.path(), 2)).expect("removed");
    tables.learn(4, &[5]);
    assert_eq!(tables.save(4, dir.path(), 9).1, 1);
    tables.check(&path_of(dir.path(), 4));
}

/// What was staged and never committed is no base of the next one, though an older file has its step's name.
#[test]
fn a_checkpoint_after_one_that_failed_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tables = Tables::new(1000, 16);
    for (step, is_saved, files) in
        [(1, true, 1), (2, true, 2), (2, false, 1), (3, true, 1), (4, false, 2), (5, true, 1)]
    {
        tables.learn(step, &[step as u32, 500]);
        let staged = tables.at(step).stage(Arc::new(System), dir.path(), 9, None).expect("staged");
        assert_eq!(staged.chain().len(), files, "step {step}");
        match is_saved {
            true => {
                tables.committed(staged);
                tables.check(&path_of(dir.path(), step));
            }
            false => {
                tables.w.forget_changes();
                tables.v.forget_changes();
                tables.chain = staged.chain().to_vec();
            }
        }
    }
}

#[test]
fn another_format_is_refused_by_its_number() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = path_of(dir.path(), 1);
    let mut writer = Writer::create(&path, KIND).expect("created");
    // As the second format began: its number, then counters.
    let manifest = bincode::encode_to_vec((2u32, 1u64, 0u32, 0u64), limit()).expect("encoded");
    writer.section("manifest", &manifest).expect("written");
    writer.commit().expect("committed");
    let error = Checkpoint::read(&path).err().expect("refused").to_string();
    assert!(error.contains("format 2, this program reads 5"), "{error}");
}

#[test]
fn parameters_are_each_given_once_and_of_their_type() {
    let mut params = Params::default();
    ["a", "b"].iter().for_each(|name| _ = params.add(*name, Tensor::from_vec([2], vec![0.0f32; 2]), true));
    let f32s = |name: &str| (name.to_owned(), Tensor::from_vec([2], vec![1.0f32, 2.0]));
    let u32s = |name: &str| (name.to_owned(), Tensor::from_vec([2], vec![1u32, 2]));
    assert!(restore_params(&mut params, vec![f32s("b"), f32s("a")]).is_ok());
    for wrong in [vec![f32s("a"), f32s("a")], vec![f32s("a"), u32s("b")]] {
        let e = restore_params(&mut params, wrong).expect_err("does not fit");
        assert!(e.kind() == Kind::Damaged && e.to_string().contains("does not fit the model"), "{e}");
    }
}
