//! How a struct or a word of a fixed set stands in an image: each field, each word is listed once.

/// `persist! { Type { one, two, since 2 three = expression } }`: the fields in the order in which they stand in an image.
///
/// A field that is left out does not compile, nor does one that is not there. A field that format 2 has brought has the
/// value of the expression where an image is older; to add it raises [`IMAGE_VERSION`](super::IMAGE_VERSION) by one.
macro_rules! persist {
    ($name:ident $(<$($of:ident),+>)? { $($fields:tt)* }) => {
        impl $(<$($of: $crate::state::image::Persist),+>)? $crate::state::image::Persist for $name $(<$($of),+>)? {
            fn write(&self, to: &mut $crate::state::image::writer::ImageWriter<'_>) {
                $crate::state::image::persist!(@write self to $name [] $($fields)*);
            }

            fn read(
                from: &mut $crate::state::image::reader::ImageReader<'_>,
            ) -> Result<Self, $crate::state::image::reader::Unreadable> {
                $crate::state::image::persist!(@read from $name [] $($fields)*)
            }
        }
    };
    (@write $self:ident $to:ident $name:ident [$($done:ident)*] since $version:literal $field:ident = $old:expr $(, $($more:tt)*)?) => {
        $crate::state::image::persist!(@write $self $to $name [$($done)* $field] $($($more)*)?)
    };
    (@write $self:ident $to:ident $name:ident [$($done:ident)*] $field:ident $(, $($more:tt)*)?) => {
        $crate::state::image::persist!(@write $self $to $name [$($done)* $field] $($($more)*)?)
    };
    (@write $self:ident $to:ident $name:ident [$($done:ident)*]) => {
        let $name { $($done),* } = $self;
        $($crate::state::image::Persist::write($done, $to);)*
    };
    (@read $from:ident $name:ident [$($done:tt)*] since $version:literal $field:ident = $old:expr $(, $($more:tt)*)?) => {
        $crate::state::image::persist!(@read $from $name [$($done)* ($field $version, $old)] $($($more)*)?)
    };
    (@read $from:ident $name:ident [$($done:tt)*] $field:ident $(, $($more:tt)*)?) => {
        $crate::state::image::persist!(@read $from $name [$($done)* ($field)] $($($more)*)?)
    };
    (@read $from:ident $name:ident [$(($field:ident $($since:tt)*))*]) => {
        Ok($name { $($field: $crate::state::image::persist!(@value $from $($since)*)),* })
    };
    (@value $from:ident) => {
        $crate::state::image::Persist::read($from)?
    };
    (@value $from:ident $version:literal, $old:expr) => {
        if $from.version() >= $version { $crate::state::image::Persist::read($from)? } else { $old }
    };
}

/// `persist_words! { Type { One = 0, Two = 1 } }`: the number of each word in an image, for ever.
macro_rules! persist_words {
    ($name:ident { $($word:ident = $number:literal),+ $(,)? }) => {
        impl $crate::state::image::Word for $name {
            fn number(&self) -> u8 {
                match self {
                    $(Self::$word => $number),+
                }
            }

            fn of_number(number: u8) -> Result<Self, $crate::state::image::reader::Unreadable> {
                match number {
                    $($number => Ok(Self::$word),)+
                    _ => Err($crate::state::image::reader::Unreadable::Malformed(concat!(
                        "a number stands for no ",
                        stringify!($name),
                    ))),
                }
            }
        }

        impl $crate::state::image::Persist for $name {
            fn write(&self, to: &mut $crate::state::image::writer::ImageWriter<'_>) {
                to.byte($crate::state::image::Word::number(self));
            }

            fn read(
                from: &mut $crate::state::image::reader::ImageReader<'_>,
            ) -> Result<Self, $crate::state::image::reader::Unreadable> {
                $crate::state::image::Word::of_number(from.byte()?)
            }
        }
    };
}

pub(in crate::state) use {persist, persist_words};
