//! The exercises of `docs/course`. This marks the third: `cargo test -p lode --test course -- --ignored exercise_3`.
//!
//! What marks an exercise is tested itself: it accepts the worked solution, it refuses the exercise as it is handed
//! out, and it refuses mistakes that people make.

mod exercises;
mod marks;
mod mistakes;
mod solutions;

use marks::Marked;

/// An exercise as it is handed out, or as its reader has solved it.
struct Exercise {
    /// Its file: with the word `HOLE` in it until it is solved.
    source: &'static str,
    mark: fn() -> Marked,
}

const EXERCISES: [Exercise; 8] = [
    Exercise { source: include_str!("exercises/slope.rs"), mark: || marks::slope(exercises::slope::slope) },
    Exercise { source: include_str!("exercises/outer.rs"), mark: || marks::outer(exercises::outer::CASE) },
    Exercise {
        source: include_str!("exercises/infonce.rs"),
        mark: || marks::infonce(exercises::infonce::infonce),
    },
    Exercise { source: include_str!("exercises/bag.rs"), mark: || marks::bag(exercises::bag::encode) },
    Exercise {
        source: include_str!("exercises/attention.rs"),
        mark: || marks::attention(exercises::attention::attention),
    },
    Exercise { source: include_str!("exercises/adamw.rs"), mark: || marks::adamw(exercises::adamw::step) },
    Exercise { source: include_str!("exercises/mask.rs"), mark: || marks::mask(exercises::mask::keep) },
    Exercise {
        source: include_str!("exercises/halves.rs"),
        mark: || marks::halves(exercises::halves::halves),
    },
];

#[track_caller]
fn mark(exercise: usize) {
    if let Err(wrong) = (EXERCISES[exercise - 1].mark)() {
        panic!("exercise {exercise} is not solved yet: {wrong}");
    }
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/slope.rs"]
fn exercise_1() {
    mark(1);
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/outer.rs"]
fn exercise_2() {
    mark(2);
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/infonce.rs"]
fn exercise_3() {
    mark(3);
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/bag.rs"]
fn exercise_4() {
    mark(4);
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/attention.rs"]
fn exercise_5() {
    mark(5);
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/adamw.rs"]
fn exercise_6() {
    mark(6);
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/mask.rs"]
fn exercise_7() {
    mark(7);
}

#[test]
#[ignore = "for the reader: lode/tests/course/exercises/halves.rs"]
fn exercise_8() {
    mark(8);
}

#[test]
fn worked_solutions_are_accepted() {
    let solutions: [Marked; 8] = [
        marks::slope(solutions::slope::slope),
        marks::outer(solutions::outer::CASE),
        marks::infonce(solutions::infonce::infonce),
        marks::bag(solutions::bag::encode),
        marks::attention(solutions::attention::attention),
        marks::adamw(solutions::adamw::step),
        marks::mask(solutions::mask::keep),
        marks::halves(solutions::halves::halves),
    ];
    for (i, marked) in solutions.iter().enumerate() {
        assert_eq!(*marked, Ok(()), "the solution of exercise {}", i + 1);
    }
}

/// A reader who has filled a hole takes the word out, so a solved exercise breaks no test.
#[test]
fn exercises_with_a_hole_are_refused() {
    for (i, exercise) in EXERCISES.iter().enumerate() {
        assert!(
            !exercise.source.contains("HOLE") || (exercise.mark)().is_err(),
            "exercise {} passes with its hole",
            i + 1
        );
    }
}

#[test]
fn common_mistakes_are_refused() {
    for (name, marked) in mistakes::all() {
        assert!(marked.is_err(), "{name} passes");
    }
}

#[test]
fn chapters_name_their_exercise_and_its_command() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/course");
    let files = std::fs::read_dir(folder).expect("the folder of the course");
    let names = files.map(|f| f.expect("readable").path());
    let mut chapters: Vec<_> = names.filter(|p| !p.ends_with("README.md")).collect();
    chapters.sort();
    assert_eq!(chapters.len(), EXERCISES.len());
    for (i, chapter) in chapters.iter().enumerate() {
        let text = std::fs::read_to_string(chapter).expect("a chapter");
        let number = i + 1;
        assert!(text.starts_with(&format!("# {number}. ")), "{}", chapter.display());
        assert!(
            text.contains(&format!("--test course -- --ignored exercise_{number}\n")),
            "{}",
            chapter.display()
        );
        let named = text.split('`').find(|t| t.starts_with("lode/tests/course/exercises/")).expect("a file");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../").to_owned() + named;
        let source = std::fs::read_to_string(&file).expect("the exercise that the chapter names");
        assert_eq!(source, EXERCISES[i].source, "chapter {number} names another exercise");
    }
}
