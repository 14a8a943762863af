//! Final content of a terminal's screen, after everything that was written to it.

/// Width of the terminal, and of the lines in the file.
pub const COLUMNS: usize = 80;

/// Returns the lines that are left, without colours and without text that was overwritten, such as progress bars.
pub fn lines(written: &str) -> Vec<String> {
    let mut screen = Screen { rows: vec![Row::default()], row: 0, column: 0 };
    let mut characters = written.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next_if_eq(&'[').is_some() {
                    let mut parameters = String::new();
                    while let Some(digit) = characters.next_if(|it| it.is_ascii_digit() || matches!(it, ';' | '?')) {
                        parameters.push(digit);
                    }
                    let end = characters.next().unwrap_or_default();
                    screen.control(end, parameters.parse().ok());
                }
            }
            '\r' => screen.column = 0,
            '\n' => screen.go_to(screen.row + 1),
            character => screen.put(character),
        }
    }
    screen.lines()
}

#[derive(Default)]
struct Row {
    characters: Vec<char>,
    /// Whether the line continues in the next row.
    is_full: bool,
}

/// Rows of [`COLUMNS`] characters; there is no last row.
struct Screen {
    rows: Vec<Row>,
    row: usize,
    column: usize,
}

impl Screen {
    fn go_to(&mut self, row: usize) {
        self.row = row;
        while self.rows.len() <= row {
            self.rows.push(Row::default());
        }
    }

    /// Writes a character. The cursor leaves a full row only with the next character.
    fn put(&mut self, character: char) {
        if self.column == COLUMNS {
            self.rows[self.row].is_full = true;
            self.go_to(self.row + 1);
            self.column = 0;
        }
        let characters = &mut self.rows[self.row].characters;
        if characters.len() <= self.column {
            characters.resize(self.column + 1, ' ');
        }
        characters[self.column] = character;
        self.column += 1;
    }

    fn control(&mut self, end: char, parameter: Option<usize>) {
        let row = &mut self.rows[self.row];
        match (end, parameter.unwrap_or(0)) {
            ('A', up) => self.row = self.row.saturating_sub(up.max(1)),
            ('B', down) => self.go_to(self.row + down.max(1)),
            ('K', 0) => row.characters.truncate(self.column),
            ('K', _) => *row = Row::default(),
            _ => {}
        }
    }

    fn lines(self) -> Vec<String> {
        let mut lines = vec![String::new()];
        for row in self.rows {
            let line = lines.last_mut().expect("there is one at least");
            line.extend(row.characters);
            if !row.is_full {
                line.truncate(line.trim_end().len());
                lines.push(String::new());
            }
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }
}

/// Returns the line in parts that fit onto the terminal.
pub fn folded(line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    match characters.len() {
        0 => vec![String::new()],
        _ => characters.chunks(COLUMNS).map(|part| part.iter().collect()).collect(),
    }
}
