//! The one thing that `macro_rules` cannot do: make the compiler's dead-code lint look at a struct that a
//! macro of another crate has written.
//!
//! rustc passes over a field when its own span, or its struct's, begins or ends at a token of the macro.
//! [`as_if_written_here`] hands a struct on in the words of the agent's author alone; so a declared
//! parameter that nothing reads is an error in the author's file, at the author's line.

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

/// The same item; its braces get the span of the name before them, and the invisible brackets that
/// `macro_rules` puts around a type or a visibility are taken off.
#[proc_macro]
pub fn as_if_written_here(item: TokenStream) -> TokenStream {
    rewrite(item)
}

fn rewrite(tokens: TokenStream) -> TokenStream {
    let mut name = Span::call_site();
    let mut out = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                out.extend(rewrite(group.stream()));
            }
            TokenTree::Group(group) => {
                let mut group = Group::new(group.delimiter(), rewrite(group.stream()));
                group.set_span(name);
                out.extend([TokenTree::Group(group)]);
            }
            TokenTree::Ident(ident) => {
                name = ident.span();
                out.extend([TokenTree::Ident(ident)]);
            }
            other @ (TokenTree::Punct(_) | TokenTree::Literal(_)) => out.extend([other]),
        }
    }
    out
}
