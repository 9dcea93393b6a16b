// SPDX-License-Identifier: BSD-2-Clause
//! `#[protection_domain]`: names the function that initialises a domain.
//!
//! Responsible for finding the function's name, and nothing else; the rest is
//! `sel4_microkit::declare_protection_domain!`.

use proc_macro::{TokenStream, TokenTree};

/// Makes a function `fn() -> impl Handler` the start of the domain.
///
/// Takes no arguments: Microkit gives a domain its stack (`stack_size` in the system description),
/// and a heap is the domain's own affair.
#[proc_macro_attribute]
pub fn protection_domain(attribute: TokenStream, item: TokenStream) -> TokenStream {
    if !attribute.is_empty() {
        return error("the attribute takes no arguments; the system description has `stack_size`");
    }
    let mut tokens = item.clone().into_iter();
    let is_fn =
        |token: &TokenTree| matches!(token, TokenTree::Ident(ident) if ident.to_string() == "fn");
    let Some(TokenTree::Ident(name)) = tokens.by_ref().find(is_fn).and_then(|_| tokens.next())
    else {
        return error("the attribute belongs on a function");
    };
    let mut output = parse(&format!(
        "::sel4_microkit::declare_protection_domain!(init = {name});"
    ));
    output.extend(item);
    output
}

/// Reports an error of the attribute's user.
fn error(message: &str) -> TokenStream {
    parse(&format!("::core::compile_error!({message:?});"))
}

/// Tokens of text that is known to be Rust.
fn parse(text: &str) -> TokenStream {
    text.parse().expect("the text is Rust")
}
