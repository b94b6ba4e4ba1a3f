//! One round of a case: the questions, the same for both sides, and asking them.

use std::time::{Duration, Instant};

use anyhow::bail;
use fazai_protocol::Priority;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::super::per_second;
use super::cases::{
    BUSY_STREAMS, BUSY_TOKENS, Case, OBJECT_TOKENS, OBJECTS, QUOTE_TOKENS, QUOTE_WORDS,
    SHARED_COUNTS, SHARED_TOKENS, SHORT_TOKENS, SHORT_WORDS, STREAM_COUNTS, STREAM_TOKENS,
    STREAMS_TOKENS, Sizes,
};
use super::prompts::{Prompts, Which};
use super::restart;
use super::side::{Counts, Question, Side, Timed};

/// When the client of `cancel` leaves.
const LEAVE_AFTER: Duration = Duration::from_secs(1);

/// What a side gets to notice who left, before the other side's turn.
const SETTLE_TIME: Duration = Duration::from_millis(1_500);

/// The questions of a round.
#[derive(Debug)]
pub(super) enum Round {
    Stream {
        writing: Question,
        reading: Question,
    },
    Streams(Vec<Vec<Question>>),
    Json {
        one: Question,
        many: Vec<Question>,
    },
    Shared(Vec<Vec<Question>>),
    Quote {
        /// What any model answers with a text that was not there before.
        new: Question,
        /// What is answered twice: the second time with the first answer at hand.
        twice: Question,
    },
    Priority {
        idle: Question,
        urgent: Question,
        busy: Vec<Question>,
    },
    Cancel {
        left: Question,
        next: Question,
    },
    Restart(Question),
}

/// What was measured, and what it cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) counts: Counts,
}

/// What a side did in a round.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// One for each of the case's rows.
    pub(super) figures: Vec<Figure>,
    /// What a reader of the figures should know.
    pub(super) notes: Vec<String>,
}

impl Turn {
    fn of(figures: impl IntoIterator<Item = Figure>) -> Self {
        Self {
            figures: figures.into_iter().collect(),
            notes: Vec::new(),
        }
    }
}

impl Round {
    /// Makes the questions.
    pub(super) async fn prepare(
        case: Case,
        round: u32,
        prompts: &Prompts,
        sizes: &Sizes,
    ) -> anyhow::Result<Self> {
        let which = Which::new(case, round);
        let short = |group, index, tokens| {
            let which = Which {
                group,
                index,
                ..which
            };
            Question::new(prompts.words(which, SHORT_WORDS), tokens)
        };
        Ok(match case {
            Case::Stream => Self::Stream {
                writing: short(1, 0, STREAM_TOKENS),
                reading: Question::new(prompts.tokens(which, sizes.prompt).await?, 1),
            },
            Case::Streams => Self::Streams(
                STREAM_COUNTS
                    .map(|count| {
                        let questions = 0..count;
                        questions
                            .map(|index| short(count, index, STREAMS_TOKENS))
                            .collect()
                    })
                    .to_vec(),
            ),
            Case::Json => Self::Json {
                one: object(prompts, which),
                many: (0..OBJECTS)
                    .map(|index| {
                        let group = 1;
                        object(
                            prompts,
                            Which {
                                group,
                                index,
                                ..which
                            },
                        )
                    })
                    .collect(),
            },
            Case::Shared => {
                let mut groups = Vec::new();
                for count in SHARED_COUNTS {
                    groups.push(alike(prompts, which, sizes.head, count).await?);
                }
                Self::Shared(groups)
            }
            Case::Quote => {
                let words = |group| prompts.words(Which { group, ..which }, QUOTE_WORDS);
                Self::Quote {
                    new: Question {
                        // A likeliest text may go round in circles, and so quote itself.
                        chance: Some(prompts.chance(which)),
                        ..Question::new(words(0), QUOTE_TOKENS)
                    },
                    twice: Question::new(words(1), QUOTE_TOKENS),
                }
            }
            Case::Priority => Self::Priority {
                idle: urgent(short(0, 0, SHORT_TOKENS)),
                urgent: urgent(short(0, 1, SHORT_TOKENS)),
                busy: (0..BUSY_STREAMS)
                    .map(|index| Question {
                        priority: Priority::Low,
                        ..short(1, index, BUSY_TOKENS)
                    })
                    .collect(),
            },
            Case::Cancel => Self::Cancel {
                left: Question::new(prompts.tokens(which, sizes.left).await?, SHORT_TOKENS),
                next: short(1, 0, SHORT_TOKENS),
            },
            Case::Restart => Self::Restart(Question {
                instructions: Some(prompts.tokens(which, sizes.head).await?),
                ..Question::new("Well?".to_owned(), 1)
            }),
        })
    }

    /// Asks one side.
    pub(super) async fn ask(&self, side: &Side) -> anyhow::Result<Turn> {
        match self {
            Self::Stream { writing, reading } => stream(side, writing, reading).await,
            Self::Streams(groups) => streams(side, groups).await,
            Self::Json { one, many } => json_objects(side, one, many).await,
            Self::Shared(groups) => shared(side, groups).await,
            Self::Quote { new, twice } => quote(side, new, twice).await,
            Self::Priority { idle, urgent, busy } => priority(side, idle, urgent, busy).await,
            Self::Cancel { left, next } => cancel(side, left, next).await,
            Self::Restart(question) => restart(side, question).await,
        }
    }
}

fn urgent(question: Question) -> Question {
    Question {
        priority: Priority::High,
        ..question
    }
}

/// The schema of `json`. Every field is bounded, so that no model writes for ever.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "service": { "type": "string", "maxLength": 24 },
            "severity": { "enum": ["low", "medium", "high", "critical"] },
            "process": { "type": "integer", "minimum": 0, "maximum": 99999 },
            "restart": { "type": "boolean" },
            "reason": { "type": "string", "maxLength": 48 },
        },
        "required": ["service", "severity", "process", "restart", "reason"],
        "additionalProperties": false,
    })
}

fn object(prompts: &Prompts, which: Which) -> Question {
    Question {
        schema: Some(schema()),
        ..Question::new(prompts.event(which), OBJECT_TOKENS)
    }
}

/// Questions with one head, which no other group and no other round has.
async fn alike(
    prompts: &Prompts,
    which: Which,
    head_tokens: u32,
    count: u32,
) -> anyhow::Result<Vec<Question>> {
    let which = Which {
        group: count,
        ..which
    };
    let head = prompts.tokens(which, head_tokens).await?;
    let questions = (1..=count).map(|index| {
        let tail = prompts.words(Which { index, ..which }, SHORT_WORDS / 2);
        Question::new(format!("{head}\n{tail}"), SHARED_TOKENS)
    });
    Ok(questions.collect())
}

/// Everything at once; also how long all of it took.
async fn at_once(side: &Side, questions: &[Question]) -> anyhow::Result<(Vec<Timed>, Duration)> {
    let started = Instant::now();
    let answers = questions.iter().map(|question| side.answer(question));
    let answers = try_join_all(answers).await?;
    Ok((answers, started.elapsed()))
}

fn total(answers: &[Timed]) -> Counts {
    answers
        .iter()
        .fold(Counts::default(), |sum, answer| sum + answer.counts)
}

fn rate(answer: &Timed) -> Figure {
    Figure {
        value: answer.tokens_per_second(),
        counts: answer.counts,
    }
}

fn seconds(time: Duration, counts: Counts) -> Figure {
    Figure {
        value: time.as_secs_f64(),
        counts,
    }
}

async fn stream(side: &Side, writing: &Question, reading: &Question) -> anyhow::Result<Turn> {
    let written = side.answer(writing).await?;
    let read = side.answer(reading).await?;
    let computed = read
        .counts
        .prompt_tokens
        .saturating_sub(read.counts.cached_tokens);
    let reading = Figure {
        value: per_second(computed, read.first),
        counts: read.counts,
    };
    Ok(Turn::of([rate(&written), reading]))
}

async fn streams(side: &Side, groups: &[Vec<Question>]) -> anyhow::Result<Turn> {
    let mut turn = Turn::default();
    for questions in groups {
        let (answers, time) = at_once(side, questions).await?;
        let counts = total(&answers);
        turn.figures.push(Figure {
            value: per_second(counts.output_tokens, time),
            counts,
        });
    }
    Ok(turn)
}

async fn json_objects(side: &Side, one: &Question, many: &[Question]) -> anyhow::Result<Turn> {
    let alone = side.answer(one).await?;
    let (answers, time) = at_once(side, many).await?;
    let together = Figure {
        value: per_second(answers.len() as u64, time),
        counts: total(&answers),
    };
    let mut turn = Turn::of([seconds(alone.whole, alone.counts), together]);
    let all = || std::iter::once(&alone).chain(&answers);
    let bad = all().filter(|answer| !is_object(&answer.text)).count();
    if bad > 0 {
        let count = all().count();
        turn.notes.push(format!(
            "{bad} of {count} answers of a round were no such object"
        ));
    }
    Ok(turn)
}

/// Whether a text is an object with the five fields.
fn is_object(text: &str) -> bool {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let fields = parsed.as_ref().and_then(Value::as_object);
    fields.is_some_and(|fields| fields.len() == 5)
}

async fn shared(side: &Side, groups: &[Vec<Question>]) -> anyhow::Result<Turn> {
    let mut turn = Turn::default();
    for questions in groups {
        let (answers, _) = at_once(side, questions).await?;
        let firsts = answers.iter().map(|answer| answer.first);
        let slowest = firsts.max().unwrap_or_default();
        turn.figures.push(seconds(slowest, total(&answers)));
    }
    Ok(turn)
}

async fn quote(side: &Side, new: &Question, twice: &Question) -> anyhow::Result<Turn> {
    let new = side.answer(new).await?;
    // What a model said once after a prompt, it says again when both are before it.
    let text = side.answer(twice).await?.text;
    let again = Question {
        text: format!("{prompt}{text}\n{prompt}", prompt = twice.text),
        ..twice.clone()
    };
    let quoted = side.answer(&again).await?;
    let mut turn = Turn::of([rate(&new), rate(&quoted)]);
    if !quotes(&quoted.text, &text) {
        turn.notes
            .push("an answer left the text that it should quote before half of it".to_owned());
    }
    Ok(turn)
}

/// Whether the answer begins with half of the text at least.
fn quotes(answer: &str, text: &str) -> bool {
    let same = answer.chars().zip(text.chars());
    let same = same.take_while(|(a, b)| a == b).count();
    same * 2 >= text.chars().count()
}

async fn priority(
    side: &Side,
    idle: &Question,
    urgent: &Question,
    busy: &[Question],
) -> anyhow::Result<Turn> {
    let alone = side.answer(idle).await?;
    let others = busy.iter().map(|question| side.first_token(question));
    let others = try_join_all(others).await?;
    let writing = async {
        try_join_all(others.into_iter().map(|other| other.finish())).await?;
        // The urgent request is the one that is waited for.
        std::future::pending::<anyhow::Result<Timed>>().await
    };
    let answer = tokio::select! {
        answer = side.answer(urgent) => answer?,
        failed = writing => failed?,
    };
    tokio::time::sleep(SETTLE_TIME).await;
    Ok(Turn::of([
        seconds(alone.first, alone.counts),
        seconds(answer.first, answer.counts),
    ]))
}

async fn cancel(side: &Side, left: &Question, next: &Question) -> anyhow::Result<Turn> {
    let mut notes = Vec::new();
    let reading = tokio::time::timeout(LEAVE_AFTER, side.first_token(left)).await;
    if let Ok(read) = reading {
        drop(read?);
        notes.push("the prompt was read before its client left".to_owned());
    }
    let answer = side.answer(next).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    Ok(Turn {
        notes,
        ..Turn::of([seconds(answer.first, answer.counts)])
    })
}

async fn restart(side: &Side, question: &Question) -> anyhow::Result<Turn> {
    let Side::Ours(_, Some(start)) = side else {
        bail!("only a worker inside this program can be started again");
    };
    let answers = restart::answers(start, question).await?;
    let firsts = answers.map(|answer| seconds(answer.first, answer.counts));
    Ok(Turn::of(firsts))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::peer::Peer;
    use super::super::restart::Starter;
    use super::super::stand_in::{PROPS, scripted_client, scripted_worker, stand_in};
    use super::*;

    async fn turn(case: Case) -> Turn {
        let client = scripted_client();
        let prompts = Prompts::new(client.clone(), 1);
        let sizes = Sizes::within(8_192);
        let round = Round::prepare(case, 1, &prompts, &sizes).await;
        let start: Starter = Box::new(|store| Ok(scripted_worker(Some(store))));
        let ours = Side::Ours(client, Some(start));
        let turn = round.expect("questions").ask(&ours).await;
        let turn = turn.expect("answers");
        assert_eq!(turn.figures.len(), case.rows(&sizes).len(), "{case:?}");
        turn
    }

    #[tokio::test]
    async fn every_case_has_a_figure_for_each_of_its_rows() {
        for &case in Case::value_variants() {
            for figure in turn(case).await.figures {
                assert!(figure.value > 0.0, "{case:?}: {figure:?}");
                assert!(figure.counts.output_tokens > 0, "{case:?}: {figure:?}");
            }
        }
    }

    #[tokio::test]
    async fn answers_are_as_long_as_they_should_be() {
        let written = turn(Case::Streams).await.figures;
        let written = written.iter().map(|figure| figure.counts.output_tokens);
        assert_eq!(written.collect::<Vec<_>>(), [128, 256, 512, 1_024]);
        let shared = turn(Case::Shared).await.figures;
        assert!(shared[1].counts.prompt_tokens > 32 * 1_100, "{shared:?}");
    }

    #[tokio::test]
    async fn the_requests_of_shared_differ_only_at_the_end() {
        let prompts = Prompts::new(scripted_client(), 1);
        let which = Which::new(Case::Shared, 1);
        let alike = alike(&prompts, which, 500, 3).await.expect("questions");
        assert_eq!(alike[0].text[..500], alike[2].text[..500]);
        assert_ne!(alike[0].text, alike[2].text);
    }

    #[tokio::test]
    async fn the_answer_that_is_quoted_is_the_sides_own() {
        let (url, mut bodies) = stand_in(|path| match path {
            "/props" => (200, "application/json", PROPS.to_owned()),
            _ => {
                let end =
                    r#"{"content":"cba","stop":true,"tokens_evaluated":1,"tokens_predicted":3}"#;
                (200, "text/event-stream", format!("data: {end}\n\n"))
            }
        })
        .await;
        let prompts = Prompts::new(scripted_client(), 1);
        let round = Round::prepare(Case::Quote, 1, &prompts, &Sizes::within(2_048)).await;
        let peer = Peer::connect(&url, None, None).await.expect("a peer");
        let turn = round.expect("questions").ask(&Side::Theirs(peer)).await;
        assert_eq!(turn.expect("answers").notes, Vec::<String>::new());
        let mut asked = Vec::new();
        while let Ok(body) = bodies.try_recv() {
            asked.push(body);
        }
        let [_, new, once, again] = &asked[..] else {
            panic!("not three questions: {asked:?}");
        };
        assert!(new["seed"].is_u64() && once["seed"].is_null(), "{asked:?}");
        assert_ne!(new["prompt"], once["prompt"]);
        let once = once["prompt"].as_str().expect("a prompt");
        assert_eq!(again["prompt"], format!("{once}cba\n{once}"));
    }

    #[test]
    fn an_answer_quotes_that_goes_wrong_only_late() {
        assert!(quotes("one two three five", "one two three four"));
        assert!(!quotes("one too three four", "one two three four"));
        assert!(!quotes("", "one"));
    }

    #[test]
    fn an_object_has_five_fields() {
        assert!(is_object(r#"{"a":1,"b":2,"c":3,"d":4,"e":"}"}"#));
        assert!(!is_object(r#"{"a":1,"b":2,"c":3,"d":4,"e":"cut"#));
        assert!(!is_object("[1,2,3,4,5]"));
    }
}
