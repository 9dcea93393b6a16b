// SPDX-License-Identifier: BSD-2-Clause
//! From XML to typed structures.
//!
//! Responsible for: which elements and attributes there are, what they mean, and names that refer to regions and
//! domains. Never: looks at what has to hold between elements, which is in `check`.

use roxmltree::Document;

use super::element::Element;
use super::{
    Channel, DEFAULT_STACK, Domain, End, Interrupt, LARGE_PAGE, MAX_STACK, Mapping, PAGE, Position,
    Prefill, Region, Rights, System, SystemError, SystemErrorKind, Trigger, USER_TOP, Value,
    VirtualMachine,
};

type Result<T, E = SystemError> = std::result::Result<T, E>;

pub(super) fn parse(file: &str, xml: &str, prefill: &Prefill) -> Result<System> {
    let document = Document::parse(xml).map_err(|error| {
        let at = error.pos();
        SystemError {
            file: file.to_owned(),
            position: Position {
                line: at.row,
                column: at.col,
            },
            element: "system".to_owned(),
            kind: Box::new(SystemErrorKind::Xml(error)),
        }
    })?;
    let root = Element {
        file,
        document: &document,
        node: document.root_element(),
    };
    if root.name() != "system" {
        return Err(root.error(SystemErrorKind::UnknownElement));
    }
    root.allow(&[])?;
    let children = root.children()?;

    // Domains name regions and channels name domains, in whatever order the description has them.
    let mut regions = Vec::new();
    let mut page_size_named = Vec::new();
    for child in children
        .iter()
        .filter(|child| child.name() == "memory_region")
    {
        regions.push(region(child, prefill)?);
        page_size_named.push(child.optional("page_size").is_some());
    }
    let mut domains = Vec::new();
    for child in children
        .iter()
        .filter(|child| child.name() == "protection_domain")
    {
        domains.push(domain(child, &regions)?);
    }
    let mut channels = Vec::new();
    for child in &children {
        match child.name() {
            "memory_region" | "protection_domain" => {}
            "channel" => channels.push(channel(child, &mut domains)?),
            "io_address_space" | "domains" => return Err(child.error(SystemErrorKind::Unsupported)),
            _ => return Err(child.error(SystemErrorKind::UnknownElement)),
        }
    }
    let mut system = System {
        regions,
        domains,
        channels,
    };
    finish_regions(&mut system, &page_size_named);
    Ok(system)
}

fn region(element: &Element<'_, '_>, prefill: &Prefill) -> Result<Region> {
    element.allow(&["name", "size", "page_size", "phys_addr", "prefill_path"])?;
    element.leaf()?;
    let page_size = element.number("page_size")?.unwrap_or(PAGE);
    if page_size != PAGE && page_size != LARGE_PAGE {
        return Err(element.bad(
            "page_size",
            element.required("page_size")?,
            "0x1000 or 0x200000",
        ));
    }
    let prefill = element
        .optional("prefill_path")
        .map(|path| {
            let content = prefill.get(path).filter(|content| !content.is_empty());
            content
                .map(|content| (path, content))
                .ok_or_else(|| element.error(SystemErrorKind::Prefill(path.to_owned())))
        })
        .transpose()?;
    let size = match (element.number("size")?, prefill) {
        (Some(size), Some((path, content))) if content.len() as u64 > size => {
            let length = content.len() as u64;
            return Err(element.error(SystemErrorKind::PrefillSize {
                path: path.to_owned(),
                length,
                size,
            }));
        }
        (Some(size), _) => size,
        (None, Some((_, content))) => (content.len() as u64).next_multiple_of(page_size),
        (None, None) => return Err(element.error(SystemErrorKind::MissingAttribute("size"))),
    };
    let size = element.within("size", size, 1, USER_TOP)?;
    let phys_addr = element.number("phys_addr")?;
    if let Some(phys_addr) = phys_addr {
        element.aligned("phys_addr", phys_addr, page_size)?;
        let _: u64 = element.within("phys_addr", phys_addr, 0, USER_TOP - size)?;
    }
    Ok(Region {
        name: element.given_name()?,
        size: element.aligned("size", size, page_size)?,
        page_size,
        phys_addr,
        prefill: prefill.map(|(_, content)| content.clone()),
        contiguous: false,
        position: element.position(),
    })
}

fn mapping(element: &Element<'_, '_>, regions: &[Region], end: u64) -> Result<Mapping> {
    element.leaf()?;
    let vaddr = element.required_number("vaddr")?;
    let region = element.region("mr", regions)?;
    Ok(Mapping {
        region,
        vaddr: element.within("vaddr", vaddr, 0, end - 1)?,
        rights: rights(element)?,
        cached: element.flag("cached", true)?,
        position: element.position(),
    })
}

fn rights(element: &Element<'_, '_>) -> Result<Rights> {
    let value = element.optional("perms").unwrap_or("rw");
    let mut rights = Rights {
        read: false,
        write: false,
        execute: false,
    };
    for letter in value.chars() {
        match letter {
            'r' => rights.read = true,
            'w' => rights.write = true,
            'x' => rights.execute = true,
            _ => return Err(element.bad("perms", value, "a combination of 'r', 'w' and 'x'")),
        }
    }
    if rights.read {
        Ok(rights)
    } else {
        // The kernel refuses write-only mappings, and neither kernel offers execute-only ones.
        Err(element.bad("perms", value, "'r' among them"))
    }
}

const DOMAIN_ATTRIBUTES: [&str; 8] = [
    "name",
    "priority",
    "budget",
    "period",
    "passive",
    "smc",
    "stack_size",
    "fpu",
];

fn domain(element: &Element<'_, '_>, regions: &[Region]) -> Result<Domain> {
    element.allow(&DOMAIN_ATTRIBUTES)?;
    let stack_size = element.number("stack_size")?.unwrap_or(DEFAULT_STACK);
    let stack_size = element.within("stack_size", stack_size, PAGE, MAX_STACK)?;
    let mut domain = Domain {
        name: element.given_name()?,
        scheduling: element.scheduling()?,
        passive: element.flag("passive", false)?,
        firmware: element.flag("smc", false)?,
        fpu: element.flag("fpu", true)?,
        stack_size: element.aligned("stack_size", stack_size, PAGE)?,
        program: String::new(),
        mappings: Vec::new(),
        interrupts: Vec::new(),
        variables: Vec::new(),
        machine: None,
        position: element.position(),
    };
    for child in element.children()? {
        domain_child(&mut domain, &child, regions)?;
    }
    if domain.program.is_empty() {
        return Err(element.error(SystemErrorKind::MissingElement("program_image")));
    }
    Ok(domain)
}

fn domain_child(domain: &mut Domain, child: &Element<'_, '_>, regions: &[Region]) -> Result<()> {
    match child.name() {
        "program_image" => {
            child.allow(&["path"])?;
            child.leaf()?;
            if !domain.program.is_empty() {
                return Err(child.error(SystemErrorKind::Repeated("program_image")));
            }
            child.required("path")?.clone_into(&mut domain.program);
        }
        "map" => domain_mapping(domain, child, regions)?,
        "irq" => domain_interrupt(domain, child)?,
        "setvar" => {
            child.allow(&["symbol", "region_paddr"])?;
            child.leaf()?;
            let value = Value::PhysicalAddress(child.region("region_paddr", regions)?);
            child.set(&mut domain.variables, child.required("symbol")?, value)?;
        }
        "virtual_machine" => {
            if domain.machine.is_some() {
                return Err(child.error(SystemErrorKind::Repeated("virtual_machine")));
            }
            domain.machine = Some(machine(child, regions)?);
        }
        "protection_domain" | "cspace" | "ioport" => {
            return Err(child.error(SystemErrorKind::Unsupported));
        }
        _ => return Err(child.error(SystemErrorKind::UnknownElement)),
    }
    Ok(())
}

fn domain_mapping(
    domain: &mut Domain,
    element: &Element<'_, '_>,
    regions: &[Region],
) -> Result<()> {
    element.allow(&[
        "mr",
        "vaddr",
        "perms",
        "cached",
        "setvar_vaddr",
        "setvar_size",
        "setvar_prefill_size",
    ])?;
    let mapping = mapping(element, regions, domain.stack_bottom())?;
    let values = [
        ("setvar_vaddr", Value::Number(mapping.vaddr)),
        ("setvar_size", Value::Size(mapping.region)),
        ("setvar_prefill_size", Value::PrefillSize(mapping.region)),
    ];
    for (attribute, value) in values {
        let Some(symbol) = element.optional(attribute) else {
            continue;
        };
        if matches!(value, Value::PrefillSize(region) if regions[region].prefill.is_none()) {
            return Err(element.bad(attribute, symbol, "a region with a prefill_path"));
        }
        element.set(&mut domain.variables, symbol, value)?;
    }
    domain.mappings.push(mapping);
    Ok(())
}

fn domain_interrupt(domain: &mut Domain, element: &Element<'_, '_>) -> Result<()> {
    element.allow(&["irq", "id", "setvar_id", "trigger"])?;
    element.leaf()?;
    let id = element.identifier()?;
    let trigger = match element.optional("trigger") {
        None | Some("level") => Trigger::Level,
        Some("edge") => Trigger::Edge,
        Some(other) => return Err(element.bad("trigger", other, "'level' or 'edge'")),
    };
    // INTIDs of SPIs end at 1019 (Arm IHI 0048B, 2.2.1); SGIs (0-15) are the kernel's own.
    let intid = element.within("irq", element.decimal("irq")?, 16, 1019)?;
    if let Some(symbol) = element.optional("setvar_id") {
        element.set(&mut domain.variables, symbol, Value::Number(id.into()))?;
    }
    domain.interrupts.push(Interrupt {
        id,
        intid,
        trigger,
        position: element.position(),
    });
    Ok(())
}

fn machine(element: &Element<'_, '_>, regions: &[Region]) -> Result<VirtualMachine> {
    element.allow(&["name", "budget", "period", "priority"])?;
    let mut machine = VirtualMachine {
        name: element.given_name()?,
        scheduling: element.scheduling()?,
        vcpus: Vec::new(),
        mappings: Vec::new(),
    };
    for child in element.children()? {
        match child.name() {
            "vcpu" => {
                // Microkit 2.3.0 accepts `setvar_id` here and ignores it, so nobody may rely on it.
                child.allow(&["id"])?;
                child.leaf()?;
                let id = child.identifier()?;
                if machine.vcpus.contains(&id) {
                    return Err(child.error(SystemErrorKind::Duplicate {
                        what: "vCPU",
                        name: id.to_string(),
                    }));
                }
                machine.vcpus.push(id);
            }
            "map" => {
                child.allow(&["mr", "vaddr", "perms", "cached"])?;
                machine.mappings.push(mapping(&child, regions, USER_TOP)?);
            }
            _ => return Err(child.error(SystemErrorKind::UnknownElement)),
        }
    }
    if machine.vcpus.is_empty() {
        return Err(element.error(SystemErrorKind::MissingElement("vcpu")));
    }
    Ok(machine)
}

fn channel(element: &Element<'_, '_>, domains: &mut [Domain]) -> Result<Channel> {
    element.allow(&[])?;
    let children = element.children()?;
    let [first, second] = children.as_slice() else {
        return Err(element.error(SystemErrorKind::MissingElement(
            "end> twice, and no other element than <end",
        )));
    };
    let ends = [end(first, domains)?, end(second, domains)?];
    if ends.iter().all(|end| end.call) {
        return Err(second.bad("pp", "true", "only one end that calls"));
    }
    Ok(Channel {
        ends,
        position: element.position(),
    })
}

fn end(element: &Element<'_, '_>, domains: &mut [Domain]) -> Result<End> {
    if element.name() != "end" {
        return Err(element.error(SystemErrorKind::UnknownElement));
    }
    element.allow(&["pd", "id", "pp", "notify", "setvar_id"])?;
    element.leaf()?;
    let name = element.required("pd")?;
    let index = domains
        .iter()
        .position(|domain| domain.name == name)
        .ok_or_else(|| {
            element.error(SystemErrorKind::Unknown {
                what: "protection domain",
                name: name.to_owned(),
            })
        })?;
    let id = element.identifier()?;
    if let Some(symbol) = element.optional("setvar_id") {
        element.set(
            &mut domains[index].variables,
            symbol,
            Value::Number(id.into()),
        )?;
    }
    Ok(End {
        domain: index,
        id,
        notify: element.flag("notify", true)?,
        call: element.flag("pp", false)?,
    })
}

/// What follows for regions from how they are used.
///
/// Like Microkit's tool, a region that names no page size gets large pages if all its addresses allow.
fn finish_regions(system: &mut System, page_size_named: &[bool]) {
    let System {
        regions, domains, ..
    } = system;
    for variable in domains.iter().flat_map(|domain| &domain.variables) {
        if let Value::PhysicalAddress(region) = variable.value {
            regions[region].contiguous = true;
        }
    }
    for (index, region) in regions
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| !page_size_named[*index])
    {
        let large = domains
            .iter()
            .flat_map(Domain::all_mappings)
            .filter(|mapping| mapping.region == index)
            .map(|mapping| mapping.vaddr)
            .chain(region.phys_addr)
            .chain([region.size])
            .all(|number| number.is_multiple_of(LARGE_PAGE));
        if large {
            region.page_size = LARGE_PAGE;
        }
    }
}
