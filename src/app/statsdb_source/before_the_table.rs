//! What the listener takes in before the table is there: it answers its clients, and keeps what only the table can take. Pure.

use crate::source::statsdb::{ClientCommand, CommandRefusal, ConnectionRefusal};

/// A command that waits for the table; nothing behind it is read from its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WaitingCommand {
    Published { channel: Vec<u8>, payload: Vec<u8> },
    Set { key: Vec<u8>, value: Vec<u8> },
    Deleted { key: Vec<u8> },
    Stored,
    Starting,
}

impl WaitingCommand {
    /// A copy; `None` for a command that needs no table.
    pub(super) fn of(command: &ClientCommand<'_>) -> Option<Self> {
        Some(match *command {
            ClientCommand::Published { channel, payload } => {
                Self::Published { channel: channel.to_owned(), payload: payload.to_owned() }
            }
            ClientCommand::Set { key, value } => Self::Set { key: key.to_owned(), value: value.to_owned() },
            ClientCommand::Deleted { key } => Self::Deleted { key: key.to_owned() },
            ClientCommand::Stored => Self::Stored,
            ClientCommand::Starting => Self::Starting,
            ClientCommand::LoggedIn
            | ClientCommand::Nothing
            | ClientCommand::Empty
            | ClientCommand::Bye
            | ClientCommand::Refused(_)
            | ClientCommand::Foreign(_) => return None,
        })
    }

    /// The command as it came.
    pub(super) fn as_command(&self) -> ClientCommand<'_> {
        match self {
            Self::Published { channel, payload } => ClientCommand::Published { channel, payload },
            Self::Set { key, value } => ClientCommand::Set { key, value },
            Self::Deleted { key } => ClientCommand::Deleted { key },
            Self::Stored => ClientCommand::Stored,
            Self::Starting => ClientCommand::Starting,
        }
    }
}

/// What was refused before the table could count it.
#[derive(Debug, Default)]
pub(super) struct EarlyRefusals {
    commands: [u64; CommandRefusal::ALL.len()],
    connections: [u64; ConnectionRefusal::ALL.len()],
}

impl EarlyRefusals {
    /// A command was refused.
    pub(super) fn command(&mut self, reason: CommandRefusal) {
        if let Some(count) = self.commands.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// A connection was closed, or not taken.
    pub(super) fn connection(&mut self, reason: ConnectionRefusal) {
        if let Some(count) = self.connections.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Each refused command's reason, as often as it was counted.
    pub(super) fn commands(&self) -> impl Iterator<Item = CommandRefusal> {
        each(&CommandRefusal::ALL, &self.commands)
    }

    /// Each refused connection's reason, as often as it was counted.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionRefusal> {
        each(&ConnectionRefusal::ALL, &self.connections)
    }
}

fn each<T: Copy>(all: &[T], counts: &[u64]) -> impl Iterator<Item = T> {
    all.iter().zip(counts).flat_map(|(&reason, &count)| (0..count).map(move |_| reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_waits_comes_out_as_it_came() {
        for command in [
            ClientCommand::Published { channel: b"turn/x", payload: b"y" },
            ClientCommand::Set { key: b"k", value: b"v" },
            ClientCommand::Deleted { key: b"k" },
            ClientCommand::Stored,
            ClientCommand::Starting,
        ] {
            assert_eq!(WaitingCommand::of(&command).unwrap().as_command(), command);
        }
        for command in
            [ClientCommand::LoggedIn, ClientCommand::Nothing, ClientCommand::Refused(CommandRefusal::Login)]
        {
            assert_eq!(WaitingCommand::of(&command), None, "{command:?}");
        }
    }

    #[test]
    fn what_was_refused_is_counted_by_its_reason() {
        let mut early = EarlyRefusals::default();
        early.command(CommandRefusal::Attack);
        early.command(CommandRefusal::Login);
        early.command(CommandRefusal::Login);
        early.connection(ConnectionRefusal::Full);
        let commands: Vec<_> = early.commands().collect();
        assert_eq!(commands, [CommandRefusal::Login, CommandRefusal::Login, CommandRefusal::Attack]);
        assert_eq!(early.connections().collect::<Vec<_>>(), [ConnectionRefusal::Full]);
    }
}
